"""Looks at a competition folder before anything is trained: `make init` infers its config."""
