"""What an image run's network is given: the pictures of training batches, draws of one picture, test-time views."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from competition import cache
from competition.cache import Cache
from competition.image.feed import Feed
from competition.image.fitting import folder_of, make_feed
from competition.image.predicting import see
from competition.image.scale import Scale
from competition.image.task import ImageTask
from competition.task import Fold, Problem, Sight, Strip

ACROSS = 8
SHOWN = 2  # pictures that several draws are shown of
LOOKED_AT = 200  # batches among which each way of mixing is looked for
LEAST = 0.005  # share of a class that is told


def strips(task: ImageTask, fold: Fold) -> list[Strip]:
    """By the feed that trains the fold."""
    pictures = cache.load(folder_of(task, fold.problem))
    scale = Scale.of(fold.problem, fold.train)
    feed = make_feed(task, fold, pictures, scale, torch.device("cpu"), None)
    teller = Teller(feed, fold, scale, pictures)
    some = list(dict.fromkeys(feed.order(0)[0].tolist()))[:SHOWN]
    return [
        *batches(teller),
        *(draws(teller, position) for position in some),
        Strip("test-time views of the first of these", views(teller, some[0]), ACROSS),
    ]


class Teller:
    """Says whose picture it is, and what its target is."""

    def __init__(self, feed: Feed, fold: Fold, scale: Scale, pictures: Cache):
        assert fold.train.pictures is not None
        self.feed, self.problem, self.scale = feed, fold.problem, scale
        self.pictures, self.rows = pictures.pictures, pictures.rows(fold.train.pictures)
        files = [Path(path) for path in fold.train.pictures]
        self.names = [
            str(name) if file.stem in str(name) else f"{name} ({file.name})"
            for name, file in zip(fold.train.ids, files, strict=True)
        ]

    def viewed(self, position: int, view: str) -> np.ndarray:
        """[size, size, 3] uint8: what the network sees of the row's picture in a test-time view."""
        picture = torch.from_numpy(self.pictures[self.rows[[position]]]).permute(0, 3, 1, 2).float()
        return see(picture, view, self.feed.task.size)[0].permute(1, 2, 0).round().clamp(0, 255).byte().numpy()

    def target(self, target: Tensor) -> str:
        return told(self.scale.back(target.double().numpy()), self.problem)


def told(target: np.ndarray, problem: Problem) -> str:
    """A row of `problem.columns`, mixed or not: `cat 0.62 + dog 0.38`, `cat`, `label 12.3`."""
    if problem.kind == "regression":
        return ", ".join(f"{name} {value:.4g}" for name, value in zip(problem.columns, target, strict=True))
    names = list(problem.columns)
    if problem.kind == "binary":
        names, target = list(problem.classes), np.array([1 - target[0], target[0]])
    order = [place for place in np.argsort(-target, kind="stable") if target[place] >= LEAST]
    parts = [names[n] if target[n] > 1 - LEAST else f"{names[n]}\N{NO-BREAK SPACE}{target[n]:.2f}" for n in order]
    if problem.kind == "multilabel":
        return ", ".join(parts) or "no label"
    return " + ".join(parts)


def batches(teller: Teller) -> Iterator[Strip]:
    """The first batch of each way of mixing, in the order in which training comes to them."""
    feed, task = teller.feed, teller.feed.task
    wanted = [*(["mixup"] if task.mixup else []), *(["cutmix"] if task.cutmix else [])] if task.mix_prob else []
    if not wanted or task.mix_prob < 1 or task.mix_off:
        wanted.append("not mixed")
    found: dict[str, tuple[int, int]] = {}
    last = [(task.epochs - 1, 0)]  # where mixing may be off
    for epoch, step in [*islice(product(range(task.epochs), range(feed.steps)), LOOKED_AT), *last]:
        found.setdefault(way(feed, epoch, step), (epoch, step))
        if found.keys() >= set(wanted):
            break
    for name, (epoch, step) in found.items():
        told = f"batch {step + 1} of epoch {epoch + 1}, {name}"
        few = ACROSS if len(found) > 1 else 2 * ACROSS
        yield Strip(told + ": pictures and targets as they train", sights(teller, epoch, step)[:few], ACROSS)


def way(feed: Feed, epoch: int, step: int) -> str:
    mixing = feed.mixing(epoch, step, feed.batch)
    if mixing is None:
        return "not mixed"
    return "mixup" if mixing.patch is None else "cutmix"


def sights(teller: Teller, epoch: int, step: int) -> list[Sight]:
    """A batch as `Feed.make` gives it; where it is mixed with both rows' ids."""
    feed = teller.feed
    positions = feed.order(epoch)[step]
    batch, mixing = feed.make(epoch, step, positions), feed.mixing(epoch, step, len(positions))
    made = []
    for n, position in enumerate(positions):
        name = teller.names[position]
        if mixing is not None and mixing.partner[n] != n:
            other = teller.names[positions[mixing.partner[n]]]
            name = f"{mixing.share:.2f} {name}\n{1 - mixing.share:.2f} {other}"
        made.append(Sight(batch.images[n].numpy(), f"{teller.target(batch.targets[n])}\n{name}"))
    return made


def draws(teller: Teller, position: int) -> Strip:
    """The picture as a test row is seen, and as the first epochs draw it."""
    feed, one = teller.feed, np.array([position])
    plain = Sight(teller.viewed(position, "plain"), f"as it is: {teller.target(feed.targets[position])}")
    drawn = (feed.supply.finish(feed.supply.begin(one, n, one), n, one) for n in range(ACROSS - 1))
    sights = [Sight(images[0].numpy(), f"draw {n + 1}") for n, images in enumerate(drawn)]
    level = feed.task.augment if isinstance(feed.task.augment, str) else "own list"
    return Strip(f"{teller.names[position]} plain, and augmented ({level})", [plain, *sights], ACROSS)


def views(teller: Teller, position: int) -> list[Sight]:
    return [Sight(teller.viewed(position, view), view) for view in teller.feed.task.views]
