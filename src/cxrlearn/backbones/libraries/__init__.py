"""Models of torchvision, timm and Hugging Face as backbones: records made on the fly."""
