"""The story of each command: a config in, a typed result out."""
