"""`make check`: what is wrong with a competition's files, and what is worth knowing before training."""
