"""What every layer above may lean on: devices, seeds, versions, atomic writes, progress."""
