"""`make bench`: how much of the bare training step's rate the whole loop reaches, beside a plain loop, in one run.

Loops over the same pictures, backbone and optimizer, interleaved round by round, compared by ratio:
  bare   forward + backward + AdamW on one preloaded batch
  loop   loop.train on one preloaded batch: normalisation, clipping, EMA, schedule, history
  ours   loop.train: cached uint8 pictures, albumentations, mixup and cutmix, normalisation, clipping, EMA, schedule, history
  plain  PIL decoding in DataLoader workers, albumentations, timm's Mixup, AdamW, clipping, timm's ModelEmaV2
"""

from __future__ import annotations

import argparse
import functools
import itertools
import platform
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import albumentations as A
import numpy as np
import pandas as pd
import timm
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_sample_images
from timm.data.mixup import Mixup
from timm.loss import SoftTargetCrossEntropy
from timm.utils.model_ema import ModelEmaV2
from torch.utils.data import DataLoader, Dataset

from competition import artifacts, backbone, cache, devices, loop, metrics
from competition.image import model
from competition.image.feed import ImageBatch
from competition.image.fitting import loss_of, make_feed
from competition.image.scale import Scale
from competition.image.task import ImageTask
from competition.image.views import kept
from competition.keys import MetricSpec
from competition.pixels import normalise, pixel_rows
from competition.task import Fold, Problem, Rows

CLASSES, SIDE, BATCH = 10, 256, 32
clock = time.perf_counter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--steps", type=int, default=24, help="optimizer steps of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall",
                        help="cpu: of this process, where others work; plain has workers, and is left out")  # fmt: skip
    parser.add_argument("--augment", default="medium", help="level of our augmentation")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = devices.device_of("auto")
    where = (
        torch.cuda.get_device_name()
        if device.type == "cuda"
        else f"{platform.machine()}, {torch.get_num_threads()} threads"
    )
    table = Table(
        "size",
        "bare img/s",
        "loop / bare",
        "ours / bare",
        "plain / bare",
        title=f"{options.backbone}, {where}, torch {torch.__version__}",
    )
    with tempfile.TemporaryDirectory() as folder:
        rows = write_pictures(Path(folder), BATCH * options.steps)
        for size in options.sizes:
            table.add_row(str(size), *measure(rows, size, options, device, Path(folder)))
    Console().print(table)


def measure(rows: Rows, size: int, options: argparse.Namespace, device: torch.device, folder: Path) -> list[str]:
    """[bare rate, loop / bare, ours / bare, plain / bare]: medians over rounds of the ratios within a round, with their
    range."""
    global clock
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    task = ImageTask(backbone=options.backbone, pretrained=False, size=size, epochs=1, batch=BATCH, augment=options.augment,
                     mixup=0.2, cutmix=1.0)  # fmt: skip
    runners = [Bare(task, device), *(Ours(task, rows, device, folder, preloaded) for preloaded in (True, False))]
    runners += [Plain(task, rows, device)] if options.clock == "wall" else []
    rates = []
    for number in range(1 + options.rounds):
        rates.append([runner.rate(options.steps) for runner in runners])
        print(
            f"{size} px, round {number}: "
            + ", ".join(f"{r:.1f}" for r in rates[-1])
            + " img/s"
            + " (warm-up)" * (number == 0)
        )
    bare, *others = np.array(rates[1:]).T

    def ratio(values: np.ndarray) -> str:
        return f"{median(values / bare):.3f} ({min(values / bare):.3f} to {max(values / bare):.3f})"

    return [f"{median(bare):.1f}", *map(ratio, others)]


class Bare:
    """One batch, already normalised, on the device."""

    def __init__(self, task: ImageTask, device: torch.device):
        self.device, self.network = device, new_network(task, device)
        self.optimizer = model.optimizer(self.network, task)
        pictures = torch.randn(BATCH, 3, task.size, task.size, device=device)
        self.pictures = pictures.to(memory_format=torch.channels_last)
        self.targets = torch.full((BATCH, CLASSES), 1 / CLASSES, device=device)
        self.amp = torch.autocast(device.type, devices.amp_dtype(task.amp, device), enabled=device.type == "cuda")

    def rate(self, steps: int) -> float:
        began = now(self.device)
        for _ in range(steps):
            with self.amp:
                loss = torch.nn.functional.cross_entropy(self.network(self.pictures), self.targets)
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
        return steps * BATCH / (now(self.device) - began)


class Ours:
    """One epoch by loop.train, its checkpoint and history included, less validation (the others have none); preloaded: of
    one batch again and again."""

    def __init__(self, task: ImageTask, rows: Rows, device: torch.device, folder: Path, preloaded: bool):
        self.task, self.rows, self.device, self.folder, self.preloaded = task, rows, device, folder, preloaded
        assert rows.pictures is not None
        paths = list(rows.pictures)
        self.pictures = cache.build(paths, folder / f"cache-{task.size}", "squash", kept(task.size), lambda *_: None)

    def rate(self, steps: int) -> float:
        metric = metrics.get(MetricSpec(name="accuracy"), "multiclass", [str(c) for c in range(CLASSES)], Path())
        columns = tuple(str(c) for c in range(CLASSES))
        problem = Problem("bench", "multiclass", ("label",), columns, columns, metric)
        quiet = {
            "log": nothing,
            "report": nothing,
            "progress": nothing,
            "stop": nothing,
            "inner": nothing,
            "ordered": False,
        }
        fold = Fold(
            name="fold0", problem=problem, train=self.rows, valid=None, folder=self.folder, seed=0, origin={}, **quiet
        )
        feed = make_feed(self.task, fold, self.pictures, Scale(), self.device, None)
        network = new_network(self.task, self.device)
        mean, std = backbone.data_config(network)
        pixels, loss = pixel_rows(mean, std, self.task.size, self.device), loss_of(problem, self.task)

        def mean_loss(run: torch.nn.Module, batch: ImageBatch) -> torch.Tensor:
            return loss(run(normalise(batch.images, *pixels)), batch.targets, batch.weights)

        batches = (
            functools.partial(again, next(feed.batches(0)).to(self.device), feed.steps)
            if self.preloaded
            else feed.batches
        )
        job = loop.Job(network, model.optimizer(network, self.task), feed.steps, batches, mean_loss, None)
        began = now(self.device)
        loop.train(job, self.task, fold, self.device)
        rate = feed.steps * BATCH / (now(self.device) - began)
        artifacts.drop_checkpoints(self.folder)
        return rate


class Pictures(Dataset):
    def __init__(self, rows: Rows, size: int):
        assert rows.pictures is not None and rows.truth is not None
        self.paths, self.labels = list(rows.pictures), rows.truth.to_numpy().argmax(1)
        self.compose = A.Compose([
            A.Affine(rotate=(-12, 12), shear=(-4, 4), p=0.4), A.RandomResizedCrop((size, size), scale=(0.5, 1.0)),
            A.HorizontalFlip(), A.ColorJitter((0.75, 1.25), (0.75, 1.25), (0.75, 1.25), (-0.03, 0.03), p=0.5),
            A.Normalize(), A.ToTensorV2(),
        ])  # fmt: skip

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, n: int):
        picture = np.asarray(Image.open(self.paths[n]).convert("RGB"))
        return self.compose(image=picture)["image"], int(self.labels[n])


class Plain:
    def __init__(self, task: ImageTask, rows: Rows, device: torch.device):
        self.device, self.network = device, new_network(task, device)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=1e-3)
        self.ema = ModelEmaV2(self.network, decay=0.999)
        self.mixup = Mixup(mixup_alpha=0.2, cutmix_alpha=1.0, num_classes=CLASSES)
        self.loader = DataLoader(Pictures(rows, task.size), BATCH, shuffle=True, num_workers=2, drop_last=True)
        self.amp = torch.autocast(device.type, devices.amp_dtype(task.amp, device), enabled=device.type == "cuda")

    def rate(self, steps: int) -> float:
        began, done, loss_of_soft = now(self.device), 0, SoftTargetCrossEntropy()
        for pictures, labels in self.loader:
            pictures, targets = self.mixup(pictures.to(self.device), labels.to(self.device))
            with self.amp:
                loss = loss_of_soft(self.network(pictures), targets)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.ema.update(self.network)
            done += 1
        return done * BATCH / (now(self.device) - began)


def again(batch: ImageBatch, steps: int, epoch: int, first: int) -> Iterator[ImageBatch]:
    yield from itertools.repeat(batch, steps - first)


def nothing(*_: object) -> None:
    """Nobody watches or stops a benchmark."""


def new_network(task: ImageTask, device: torch.device) -> torch.nn.Module:
    torch.manual_seed(0)
    network = timm.create_model(task.backbone, num_classes=CLASSES)
    return network.to(device=device).to(memory_format=torch.channels_last).train()


def now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clock()


def write_pictures(folder: Path, n: int) -> Rows:
    """Random 256 px crops of scikit-learn's two photos, as JPEG files."""
    rng = np.random.default_rng(0)
    photos = load_sample_images().images
    paths = []
    for i in range(n):
        photo = photos[i % 2]
        y, x = (int(rng.integers(edge - SIDE)) for edge in photo.shape[:2])
        paths.append(str(folder / f"{i:04d}.jpg"))
        Image.fromarray(photo[y : y + SIDE, x : x + SIDE]).save(paths[-1], quality=90)
    ids = pd.Index([f"{i:04d}" for i in range(n)], name="id")
    truth = pd.DataFrame(np.eye(CLASSES)[np.arange(n) % CLASSES], index=ids, columns=[str(c) for c in range(CLASSES)])
    return Rows(pd.DataFrame(index=ids), truth, pictures=pd.Series(paths, index=ids))


if __name__ == "__main__":
    main()
