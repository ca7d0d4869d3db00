"""TensorBoard as a service: event files below runs/.tensorboard, a folder a fold and one a run's score.

Written by TensorBoard's own writer, which needs neither torch nor TensorFlow: `tensorboard --logdir runs/.tensorboard`.
"""

from __future__ import annotations

import importlib
import io
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from competition import artifacts
from competition.tracking.flat import flat
from competition.tracking.told import Followed

if TYPE_CHECKING:
    import pandas as pd

    from competition.tracking.summary import Classes, Summary

ROOT = artifacts.RUNS / ".tensorboard"
PICTURES = 25  # of the worst rows
PASSED_OVER = ("step", "epoch")
EPOCHS = ("loss", "valid", "images_per_second", "seconds")  # of a line: drawn over epochs, the others over steps


class TensorBoard:
    name = "tensorboard"

    def curve(self, told: Followed, fold: str) -> _Fold:
        return _Fold(ROOT / told.run / fold)

    def summary(self, told: Followed, summary: Summary) -> None:
        writer = _Writer(ROOT / told.run / "score")
        figures = {k: v for k, v in summary.figures().items() if isinstance(v, int | float)}
        for name, value in figures.items():
            writer.scalar(f"score/{name}", value, 0)
        if "score" in figures:
            writer.settings(flat(told.config()), {"score/score": figures["score"]}, told.run)
        for n, (name, picture) in enumerate(summary.pictures.items()):
            if n < PICTURES:
                row = summary.worst.loc[name]
                writer.picture(f"worst/{n:03d} {name}: {row['truth']}, said {row['predicted']}", picture)
        if summary.matched is not None:
            writer.picture("confusion_matrix", matrix(summary.matched))
        writer.close()

    def submission(self, told: Followed) -> None:
        """TensorBoard keeps no files."""

    def trial(self, told: Followed, row: Mapping[str, Any]) -> None:
        if "score" in row:
            writer = _Writer(ROOT / told.run / f"trial{int(row['number'])}")
            writer.scalar("score/score", row["score"], 0)
            tried = {key: row[key] for key in told.keys or () if key in row}
            writer.settings(tried, {"score/score": row["score"]}, f"{told.run}/{int(row['number'])}")
            writer.close()

    def search(self, told: Followed, trials: pd.DataFrame) -> None:
        """Its page of hyperparameters draws the trials, as parallel coordinates too."""

    def close(self) -> None:
        """Every writer is closed by then."""


class _Fold:
    def __init__(self, folder: Path) -> None:
        self.writer = _Writer(folder)

    def log(self, line: Mapping[str, Any]) -> None:
        """Numbers of epochs over epochs, of steps over steps."""
        for name, value in flat(line).items():
            if name not in PASSED_OVER and isinstance(value, int | float):
                step = line["epoch"] if "epoch" in line and name in EPOCHS else line["step"]
                self.writer.scalar(name, value, step)

    def note(self, text: str) -> None:
        self.writer.text("note", text)

    def close(self, record: Mapping[str, Any] | None) -> None:
        self.writer.close()


class _Writer:
    """Event files of one folder; a new one each time it is opened, which TensorBoard reads as one."""

    def __init__(self, folder: Path) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        folder.mkdir(parents=True, exist_ok=True)
        self.file = EventFileWriter(str(folder))

    def scalar(self, tag: str, value: float, step: int) -> None:
        self._add(step, tag=tag, simple_value=value)

    def picture(self, tag: str, content: bytes) -> None:
        """content: of any form that Pillow reads."""
        from PIL import Image

        image, buffer = Image.open(io.BytesIO(content)).convert("RGB"), io.BytesIO()
        image.save(buffer, "PNG")
        shown = _message("summary", "Summary").Image(
            height=image.height, width=image.width, colorspace=3, encoded_image_string=buffer.getvalue()
        )
        self._add(0, tag=tag, image=shown)

    def text(self, tag: str, text: str) -> None:
        kinds = _message("summary", "SummaryMetadata")
        metadata = kinds(plugin_data=kinds.PluginData(plugin_name="text"))
        tensor = _message("tensor", "TensorProto")(dtype=_message("types", "DT_STRING"), string_val=[text.encode()])
        self._add(0, tag=tag, metadata=metadata, tensor=tensor)

    def settings(self, values: Mapping[str, Any], scores: Mapping[str, float], name: str) -> None:
        """For the page of hyperparameters."""
        from tensorboard.plugins.hparams import summary_v2 as hparams

        metrics = [hparams.Metric(tag) for tag in scores]
        domain = {hparams.HParam(key): value for key, value in values.items()}
        for summary in (hparams.hparams_config_pb(list(domain), metrics), hparams.hparams_pb(domain, trial_id=name)):
            self._event(0, summary)

    def close(self) -> None:
        self.file.close()

    def _add(self, step: int, **value: Any) -> None:
        kinds = _message("summary", "Summary")
        self._event(step, kinds(value=[kinds.Value(**value)]))

    def _event(self, step: int, summary: Any) -> None:
        self.file.add_event(_message("event", "Event")(wall_time=time.time(), step=step, summary=summary))


def _message(module: str, name: str) -> Any:
    """One of TensorBoard's, which are made when they are imported: type checkers know of none."""
    return getattr(importlib.import_module(f"tensorboard.compat.proto.{module}_pb2"), name)


def matrix(matched: Classes) -> bytes:
    """Rows by true and predicted class, as PNG."""
    from matplotlib.figure import Figure

    from competition import chart

    c = len(matched.names)
    counts = np.bincount(matched.truth * c + matched.said, minlength=c * c).reshape(c, c)
    names = [chart.shortened(name) for name in matched.names]
    figure = Figure(figsize=(3 + 0.35 * c, 2.6 + 0.35 * c), layout="constrained")
    axes = figure.subplots()
    axes.imshow(counts, cmap="Blues")
    axes.set_xticks(range(c), names, rotation=90, parse_math=False)
    axes.set_yticks(range(c), names, parse_math=False)
    axes.set(xlabel="predicted", ylabel="true")
    for (row, column), count in np.ndenumerate(counts):
        if count:
            shade = "white" if count > counts.max() / 2 else "black"
            axes.text(column, row, str(count), ha="center", va="center", fontsize=7, color=shade)
    return chart.png(figure)
