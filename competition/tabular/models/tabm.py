"""TabM, perceptrons that share their matrices: the network of `tabular/net.py`, one for all outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from competition.tabular import net
from competition.tabular.features import Matrix
from competition.tabular.models import Job, checked

FORM, STOPS, ROUNDS, JOINT, SUFFIX = "dense", True, "epochs", True, ".safetensors"
GPU = True
WEIGHS = True


def fit(job: Job) -> tuple[net.Net, int]:
    torch.set_num_threads(job.threads)
    known = set(net.DEFAULTS) - {"alpha"}
    model, record = net.fit(
        job.x.values,
        job.y.astype(np.float32),
        job.weight.astype(np.float32),
        None if job.valid is None else (job.valid[0].values, job.valid[1].astype(np.float32)),
        job.loss,
        {"alpha": job.alpha} | checked(job.params, known, "TabM"),
        job.seed,
        job.device,
        lambda epoch, epochs, text: job.round(epoch, epochs),
        lambda: False,  # job.round raises
        numeric=job.x.numeric,
    )
    return model, record["best_epoch"]


def predict(model: net.Net, x: Matrix) -> np.ndarray:
    return net.predict(model, x.values)


def save(model: net.Net, path: Path) -> None:
    net.save(model, path)


def load(path: Path, device: str) -> net.Net:
    return net.load(path, device)
