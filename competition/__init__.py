"""Podium: from a competition folder to a strong, valid submission, with an honest cross-validation score."""

import os

__version__ = "0.2.0"  # as pyproject.toml has it

os.environ.setdefault(
    "OMP_WAIT_POLICY", "PASSIVE"
)  # threads that spin while they wait cost up to five times on a busy machine

# Quiet on the network, before any library looks: no version check, no telemetry.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")  # what can't be decoded we tell ourselves
