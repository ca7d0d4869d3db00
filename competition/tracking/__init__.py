"""What is remembered of training, `history.jsonl`, and its mirrors in W&B and TensorBoard (docs/wandb.md)."""

from competition.tracking.following import follow, following
from competition.tracking.history import History, read

__all__ = ["History", "follow", "following", "read"]
