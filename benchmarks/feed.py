"""`python -m benchmarks.feed`: pictures/s a core that are made ready for the network, by our levels and by albumentations.

Both from the same kept pictures (1.14 x the size) into the same uint8 batches, interleaved round by round; then mixup,
cutmix and the normalisation of such batches. By processor time of one thread, the best round: others slow a round down and
never speed it up. `python -m benchmarks.augmented` compares the two by score.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_sample_image

from competition.augment import augmentation
from competition.image.feed import Mixing
from competition.image.views import kept
from competition.levels import LEVELS
from competition.pixels import normalise, pixel_rows

GOALS = {  # pictures/s a core at 224 px, measured on such a core before this was built
    "augmented and normalised": 1009,
    "crop and flip": 3197,
    "mixup": 12_176,
    "cutmix": 10_763,
    "normalise": 6003,
}
FLIPS: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "horizontal": [{"HorizontalFlip": {"p": 0.5}}],
    "all": [{"D4": {"p": 1.0}}],
}


def turn(degrees: float, p: float) -> dict[str, Any]:
    third = degrees / 3
    angles = {"rotate": [-degrees, degrees], "shear": [-third, third]}
    return {"Affine": angles | {"border_mode": cv2.BORDER_REFLECT_101, "p": p}}


def crop(size: int, smallest: float, ratio: float) -> dict[str, Any]:
    return {
        "RandomResizedCrop": {"size": [size, size], "scale": [smallest, 1.0], "ratio": [1 / ratio, ratio], "p": 1.0}
    }


def jitter(strength: float, p: float) -> dict[str, Any]:
    spread = [1 - strength, 1 + strength]
    each = {"brightness": spread, "contrast": spread, "saturation": spread, "hue": [-strength / 8, strength / 8]}
    return {"ColorJitter": each | {"p": p}}


HOLES = {"hole_height_range": [0.1, 0.3], "hole_width_range": [0.1, 0.3], "fill": "random_uniform", "p": 0.4}
LISTS: dict[str, Callable[[str, int], tuple[dict[str, Any], ...]]] = {  # what the levels were by albumentations
    "none": lambda symmetry, size: (),
    "light": lambda symmetry, size: (crop(size, 0.7, 1.15), *FLIPS[symmetry]),
    "medium": lambda symmetry, size: (turn(12, 0.4), crop(size, 0.5, 1.25), *FLIPS[symmetry], jitter(0.25, 0.5)),
    "heavy": lambda symmetry, size: (
        turn(20, 0.6), crop(size, 0.3, 1.33), *FLIPS[symmetry], jitter(0.4, 0.8), {"GaussianBlur": {"p": 0.1}},
        {"CoarseDropout": HOLES},
    ),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 224])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for size in options.sizes:
        Console().print(compared(size, options.batch, options.rounds))


def compared(size: int, batch: int, rounds: int) -> Table:
    pictures, samples = photos(batch, kept(size)[0]), np.arange(batch)
    jobs: dict[str, Callable[[int], Any]] = {}
    for name in LEVELS:
        for told, spec in (("ours", name), ("albumentations", LISTS[name]("horizontal", size))):
            made, out = augmentation(spec, size, "horizontal", 0), np.empty((batch, size, size, 3), np.uint8)
            jobs[f"{name}, {told}"] = lambda n, made=made, out=out: made(pictures, n, samples, out)
    images, ones = torch.from_numpy(photos(batch, size)), [torch.ones(batch, 1)] * 3
    partner = np.random.default_rng(0).permutation(batch)
    third = slice(size // 3, size)
    rows = pixel_rows((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), size, images.device)
    jobs["mixup"] = lambda n: Mixing(partner, 0.7, None).of(images, ones)
    jobs["cutmix"] = lambda n: Mixing(partner, 0.7, (third, third)).of(images, ones)
    jobs["normalise"] = lambda n: normalise(images, *rows)
    rates = {name: batch / took for name, took in interleaved(jobs, rounds).items()}
    return told_of(size, rates)


def told_of(size: int, rates: dict[str, float]) -> Table:
    table = Table("level", "ours", "albumentations", "ratio", "ours, normalised", title=f"{size} px, pictures/s a core")
    for name in LEVELS:
        ours, theirs = rates[f"{name}, ours"], rates[f"{name}, albumentations"]
        whole = 1 / (1 / ours + 1 / rates["normalise"])
        table.add_row(name, f"{ours:,.0f}", f"{theirs:,.0f}", f"{ours / theirs:.1f}", f"{whole:,.0f}")
    for name in ("mixup", "cutmix", "normalise"):
        table.add_row(name, f"{rates[name]:,.0f}", "", "", "")
    if size == 224:
        table.caption = "goals: " + ", ".join(f"{name} {goal:,}" for name, goal in GOALS.items())
    return table


def interleaved(jobs: dict[str, Callable[[int], Any]], rounds: int) -> dict[str, float]:
    """Seconds of processor time of each job, the best of its rounds, each of about a twentieth of a second."""
    best = dict.fromkeys(jobs, float("inf"))
    for job in jobs.values():
        job(0)
    for _ in range(rounds):
        for name, job in jobs.items():
            began, times = time.process_time(), 0
            while time.process_time() - began < 0.05 or times < 2:
                job(times)
                times += 1
            best[name] = min(best[name], (time.process_time() - began) / times)
    return best


def photos(n: int, side: int) -> np.ndarray:
    """[n, side, side, 3] uint8: squares of a photo, 256 px wide, scaled."""
    photo, rng = load_sample_image("flower.jpg"), np.random.default_rng(0)
    corners = rng.integers([photo.shape[0] - 256, photo.shape[1] - 256], size=(n, 2))
    parts = [photo[y : y + 256, x : x + 256] for y, x in corners]
    return np.stack([cv2.resize(part, (side, side), interpolation=cv2.INTER_AREA) for part in parts])


if __name__ == "__main__":
    main()
