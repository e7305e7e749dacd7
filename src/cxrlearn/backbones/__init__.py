"""Frozen networks: one declarative record each, weights loaded safely and proved complete."""
