"""The detection task: torchvision detectors on timm backbones."""
