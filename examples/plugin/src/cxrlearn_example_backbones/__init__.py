"""Two backbones for cxrlearn, as an example of a plug-in."""
