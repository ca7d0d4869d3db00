"""Blend weights: the losses that stand for a metric, the exact convex fit, and greedy selection for any metric."""
