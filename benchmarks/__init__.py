"""Measurements, each a module with its command; no mirror works beside them, unless it is what is measured."""

import os

os.environ.setdefault("WANDB_MODE", "disabled")
