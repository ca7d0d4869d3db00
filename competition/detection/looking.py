"""What a detection run's network is given: training pictures with their boxes, draws of one, test-time views."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from competition import artifacts
from competition.decoding import decode, read
from competition.detection import tiles
from competition.detection.feed import Feed
from competition.detection.fitting import canvas_file, make_feed
from competition.detection.mixing import Sample
from competition.detection.predicting import WHOLE
from competition.detection.task import DetectionTask
from competition.detection.views import TILES, VIEWS
from competition.task import Fold, Sight, Strip

ACROSS = 4
FIRST = 32  # pictures of the first epoch, of which some are shown


class Watched(Feed):
    """The feed of a fold, which notes the pictures that it takes."""

    def __init__(self, feed: Feed, fold: Fold):
        vars(self).update(vars(feed))
        self.ids, self.classes, self.taken = list(map(str, fold.train.ids)), fold.problem.classes, []

    def kept(self, position: int) -> Sample:
        self.taken.append(position)
        return super().kept(position)

    def sight(self, epoch: int, number: int, position: int, mixes: bool, text: str = "") -> Sight:
        """text: in place of the ids."""
        self.taken.clear()
        sample = self.one(epoch, number, position, mixes)
        whose = " + ".join(self.ids[n] for n in self.taken)
        return Sight(sample.image, f"{text or whose}\n{counted(len(sample.boxes))}", self.named(sample))

    def named(self, sample: Sample) -> list[tuple[list[float], str]]:
        return [(box, self.classes[label]) for box, label in zip(sample.boxes.tolist(), sample.labels, strict=True)]


def strips(task: DetectionTask, fold: Fold) -> list[Strip]:
    """By the feed that trains the fold."""
    height, width = artifacts.read_json(canvas_file(task, fold.problem))
    feed = Watched(make_feed(task, fold, (height, width), torch.device("cpu"))[0], fold)
    order = feed.order(0).ravel().tolist()
    full = max(order[:FIRST], key=lambda n: len(feed.labels[n]))
    told = f"{feed.ids[full]} plain, and augmented ({level(task)}), not mixed"
    return [
        *batches(feed, order),
        Strip(told, draws(feed, full), ACROSS),
        Strip("test-time views of it", views(feed, fold, full), ACROSS),
    ]


def batches(feed: Watched, order: list[int]) -> Iterator[Strip]:
    """The first pictures of the first epoch that are made of several, and the first of one alone."""
    task = feed.task
    ways = [f"{name} {getattr(task, name):g}" for name in ("mosaic", "mixup", "copy_paste") if getattr(task, name)]
    mixes = bool(ways) and task.mix_off < task.epochs
    found: dict[bool, list[Sight]] = {True: [], False: []}
    for number, position in enumerate(order[:FIRST]):
        sight = feed.sight(0, number, position, mixes)
        found[len(feed.taken) > 1].append(sight)
    for mixed, told in ((True, f"mixed ({', '.join(ways)})"), (False, "not mixed")):
        if found[mixed]:
            title = f"training pictures of epoch 1, {told}: with boxes as they train"
            yield Strip(title, found[mixed][: 2 * ACROSS if mixed or not mixes else ACROSS], ACROSS)


def level(task: DetectionTask) -> str:
    return f"{task.augment if isinstance(task.augment, str) else 'own list'}, jitter {task.jitter:g}"


def counted(boxes: int) -> str:
    return f"{boxes} box" if boxes == 1 else f"{boxes} boxes"


def draws(feed: Watched, position: int) -> list[Sight]:
    """The picture as a test row is seen, and as the epochs without mixing would draw it."""
    plain = Sample(viewed(feed, position, "plain"), feed.boxes[position], feed.labels[position])
    as_it_is = Sight(plain.image, f"as it is\n{counted(len(plain.boxes))}", feed.named(plain))
    drawn = (feed.sight(n, position, position, False, f"draw {n + 1}") for n in range(2 * ACROSS - 1))
    return [as_it_is, *drawn]


def views(feed: Watched, fold: Fold, position: int) -> list[Sight]:
    """Sizes are told, for all are drawn equally wide."""
    made = []
    for name in feed.task.views:
        shown = windows(feed, fold, position) if name == TILES else [viewed(feed, position, name)]
        for image in shown[:ACROSS]:
            made.append(Sight(image, f"{name}\n{image.shape[1]} x {image.shape[0]} pixels"))
    return made


def viewed(feed: Feed, position: int, view: str) -> np.ndarray:
    """What the network sees of a kept picture."""
    images = torch.from_numpy(np.array(feed.cache.pictures[feed.rows[position]])).permute(2, 0, 1)[None].float()
    seen = VIEWS[view].see(images, feed.canvas)
    return seen[0].permute(1, 2, 0).round().clamp(0, 255).byte().numpy()


def windows(feed: Feed, fold: Fold, position: int) -> list[np.ndarray]:
    assert fold.train.pictures is not None
    picture = decode(read(fold.train.pictures.iloc[position]), WHOLE, fold.problem.reading)
    spans = tiles.windows(*picture.shape[:2], feed.task.tile)
    return [tiles.cut(picture, span, feed.canvas) for span in spans]
