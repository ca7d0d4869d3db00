"""What a backbone sees in a picture, as columns of a table: its pooled features, and their main directions.

The weights never saw a label of this competition: they are the hub's, or a file from elsewhere. Those of a run would not do:
fold k's model knows the labels of its training rows by heart, so its features of these say more than those of any new row
(measured: docs/results.md). What a run knows of a row that it did not see is its out-of-fold prediction (stacked.py).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from competition import artifacts, board, locks
from competition.data import Data
from competition.engine import stopping
from competition.errors import Stopped
from competition.folds import FoldTable
from competition.keys import Embeddings
from competition.task import Rows

if TYPE_CHECKING:
    from competition.image.task import ImageTask

PART = 4_096  # pictures whose features are one file: a stopped pass goes on from there


def task_of(spec: Embeddings) -> ImageTask:
    """That has the settings by which pictures are read and looked at."""
    from competition.image.task import ImageTask

    return ImageTask(**spec.model_dump(exclude={"dims"}), views=("plain",))


def check(spec: Embeddings, data: Data, table: FoldTable) -> None:
    """Refuses a backbone, weights or pictures that can't be had, and weights of this competition.

    Raises ConfigFault MODEL-NAME, MODEL-INPUT, MODEL-WEIGHTS, MODEL-LEAK, IMG-TEMPLATE and EnvironmentFault MODEL-HUB.
    """
    from competition import backbone
    from competition.image import fitting, model

    fitting.paths_of(data.train)
    model.check(task_of(spec), 1)
    backbone.weights_file(spec.pretrained, {"competition": data.name, "data": data.hash, "folds": table.hash}, "")


def columns(spec: Embeddings, data: Data, fitted: pd.Index, device: str) -> pd.DataFrame:
    """[(train or test, id), dims] of all rows, directions found on the training rows `fitted`. Raises Stopped and Fault."""
    from sklearn.decomposition import PCA

    names = [f"{spec.backbone}: {n + 1}" for n in range(spec.dims)]
    seen = pooled(spec, data, device)
    some = seen.loc["train"].loc[fitted].to_numpy()
    reduced = PCA(min(spec.dims, *some.shape), random_state=0).fit(some).transform(seen.to_numpy())
    return pd.DataFrame(reduced, seen.index, names[: reduced.shape[1]])


def pooled(spec: Embeddings, data: Data, device: str) -> pd.DataFrame:
    """[(train or test, id), features] float32, from the cache as far as it is there."""
    from competition import cache
    from competition.image import fitting
    from competition.image.views import kept

    rows, task = _numbered(data.train, data.test), task_of(spec)
    place = fitting.folder_of(task, data.problem)
    paths, show = fitting.paths_of(rows), _show(data, "decoding pictures")
    pictures = cache.build(paths, place, spec.fit_to, kept(spec.size), show, data.problem.reading)
    weights = "hub" if spec.pretrained is True else artifacts.file_digest(Path(spec.pretrained).expanduser())
    ids = data.train.ids.append(data.test.ids)
    made = artifacts.digest(spec.model_dump_json(exclude={"dims"}), weights, pictures.digest, *ids)
    folder = artifacts.cache_folder(data.name) / f"embeddings-{made[:12]}"
    with locks.locked(folder, wait=-1):
        parts = list(_parts(task, rows, data, folder, pictures, device))
    origins = ["train"] * len(data.train) + ["test"] * len(data.test)
    return pd.DataFrame(np.vstack(parts), pd.MultiIndex.from_arrays([origins, ids]))


def _numbered(*parts: Rows) -> Rows:
    """Pictures alone, by their number: an id may stand in train and, for another row, in test."""
    paths = pd.concat([part.pictures for part in parts if part.pictures is not None], ignore_index=True)
    return Rows(pd.DataFrame(index=paths.index), pictures=paths)


def _parts(task: ImageTask, rows: Rows, data: Data, folder: Path, pictures: Any, device: str) -> Iterator[np.ndarray]:
    network = None
    for start in range(0, len(rows), PART):
        path = folder / f"{start}.part"
        if not path.exists():
            network = network or _network(task, device)
            some = rows.take(rows.ids[start : start + PART])
            show = _show(data, f"{task.backbone} looks at pictures", start, len(rows))
            seen = functools.partial(np.save, arr=network(some, pictures, show))
            artifacts.write_sealed(path, seen)
        yield np.load(artifacts.read_sealed(path))


def _network(task: ImageTask, device: str) -> Any:
    """(rows, pictures, progress) -> [rows, features] of the backbone without its head."""
    import functools

    from competition import backbone, devices
    from competition.image import model
    from competition.image.predicting import forward

    place = devices.device_of(device)
    path = Path(task.pretrained).expanduser() if isinstance(task.pretrained, str) else None
    network = backbone.create(functools.partial(model.build, task, 0), task, path)
    pixels, network = backbone.data_config(network), network.to(place).eval()

    def look(rows: Rows, pictures: Any, show: Any) -> np.ndarray:
        return forward(network, pictures, rows, task, "plain", pixels, place, progress=lambda n: show(n, 0, "")).numpy()

    return look


def _show(data: Data, label: str, before: int = 0, total: int = 0) -> Any:
    """Progress, which hears the request to stop."""

    def show(done: int, of: int, text: str) -> None:
        board.show(f"{data.name}: {label}", before + done, total or of, text)
        if stopping():
            raise Stopped(f"stopped while {label}")

    return show
