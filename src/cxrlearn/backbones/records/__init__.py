"""The records of the backbones that cxrlearn knows by name, a module per family."""
