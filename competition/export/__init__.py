"""A trained run as a folder that predicts without a network: `make export RUN=leaves/baseline`."""
