"""Ours beside timm's train.py, fastai and AutoGluon MultiModal: `make bench`, `python -m benchmarks.rivals`."""
