"""The image task: timm backbones on photos."""
