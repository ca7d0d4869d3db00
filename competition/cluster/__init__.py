"""Folds, trials and predictions on a Ray cluster: `ENGINE=ray [ADDRESS=auto]`. How to begin one: docs/cluster.md."""
