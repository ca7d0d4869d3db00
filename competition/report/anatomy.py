"""A run's network on the page: its layers, its speed and its feature maps, as `make describe` left them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from competition import artifacts, runs
from competition.describe import FEATURES, RECORD, of_a_network, sentences
from competition.errors import EnvironmentFault
from competition.report.blocks import Block, Column, Grid, Picture, Prose, Section
from competition.report.subject import Subject
from competition.standings import Standing

WIDE, QUALITY = 900, 60  # pixels of the feature maps' sheet on the page; of WebP: 30 to 60 kB

COLUMNS = (
    Column("order", 0, "as they stand in the network"),
    Column("layer", help="its name in the weights file"),
    Column("module"),
    Column("output", help="of one picture"),
    Column("parameters", 0),
    Column("trainable", 0, "parameters that are not frozen"),
    Column("MFLOPs", 2, "of one picture forward, a multiply-add counted as two, in millions"),
    Column("kept, kB", 1, "what a training step keeps of one picture for the backward pass"),
    Column("time, %", 1, "share of the forward pass, measured on the machine named above"),
)


def sections(subject: Subject, standing: Standing) -> Iterator[Section]:
    """Of runs of networks; of those that were not described one line that says how."""
    folder = subject.folder(standing)
    run = runs.made(standing.name)
    if run is None or not of_a_network(run):
        return
    command = f"make describe RUN={standing.name}"
    blocks: list[Block] = [Prose([f"Its layers, speed and feature maps are not measured yet: {command}"])]
    if (folder / RECORD).exists():
        try:
            blocks = described(subject, standing, artifacts.read_json(folder / RECORD))
        except (EnvironmentFault, KeyError, TypeError):  # of another version, or damaged
            blocks = [Prose([f"{RECORD} or {FEATURES} can't be read: delete {RECORD}, and {command} makes both anew."])]
    yield Section("model", "Model", blocks, standing.name)


def described(subject: Subject, standing: Standing, record: Mapping[str, Any]) -> list[Block]:
    first, *rest = sentences(record)
    blocks: list[Block] = [
        Prose([f"{record['backbone']}: {first}.", *(f"{line[0].upper()}{line[1:]}." for line in rest)])
    ]
    rows = [cells(n, layer) for n, layer in enumerate(record["layers"])]
    note = f"Of {record['fold']}. A part's figures are within those of the layers that it is part of."
    blocks.append(Grid("Layers", COLUMNS, rows, note))
    path = subject.folder(standing) / FEATURES
    if FEATURES in record["files"] and path.exists():
        text = (
            "One picture, and below it the first channels of each stage, from the least value (dark) to the greatest."
        )
        blocks.append(Picture("Feature maps", small(path), text))
    return blocks


def small(path: Path) -> bytes:
    """As WebP of at most WIDE pixels across. Raises EnvironmentFault CKPT-CORRUPT."""
    content = np.frombuffer(path.read_bytes(), np.uint8)
    picture = cv2.imdecode(content, cv2.IMREAD_COLOR) if len(content) else None
    if picture is None:
        raise EnvironmentFault(artifacts.corrupt(path, "no picture"))
    height, width = picture.shape[:2]
    if width > WIDE:
        picture = cv2.resize(picture, (WIDE, round(height * WIDE / width)), interpolation=cv2.INTER_AREA)
    done, content = cv2.imencode(".webp", picture, [cv2.IMWRITE_WEBP_QUALITY, QUALITY])
    assert done
    return content.tobytes()


def cells(n: int, layer: Mapping[str, Any]) -> list[str | float | int]:
    return [
        n,
        layer["name"] or "(whole network)",
        layer["kind"],
        layer["output"],
        layer["parameters"],
        layer["trainable"],
        round(layer["flops"] / 1e6, 2),
        round(layer["activations"] / 1e3, 1),
        round(100 * layer["time"], 1),
    ]
