"""What is remembered of training, `history.jsonl`, and its mirrors in W&B and TensorBoard (docs/wandb.md)."""

from competition.tracking.history import History, read

__all__ = ["History", "read"]
