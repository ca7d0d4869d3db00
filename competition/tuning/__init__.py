"""Search over a run's settings: `make tune RUN=leaves/baseline`."""
