"""From files to arrays: manifests, labels, splits and radiographs."""
