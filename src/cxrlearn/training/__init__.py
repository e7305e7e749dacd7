"""The one training loop, its losses, optimisers and checkpoints."""
