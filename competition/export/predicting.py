"""What predict.py of a bundle does: a CSV of the training labels alone first, then the models, then what they decided.

python predict.py --data /kaggle/input/leaves --out submission.csv --time 9h
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from competition import artifacts, board, card, config, constant, prior, submit, versions
from competition.boxes.table import holds_boxes
from competition.data import Data
from competition.engine import Engine, signalled, signals
from competition.errors import ConfigFault, DataFault, EnvironmentFault, Fault, Finding, Stopped, examples, visible
from competition.export import hidden
from competition.export.budget import Budget
from competition.export.combining import combined
from competition.export.recipe import Recipe, read
from competition.export.streaming import Stream
from competition.local import Local
from competition.task import pick

RESERVE, SHARE = 5.0, 0.02  # seconds, and part of the time, that are kept for the end beside what the first CSV took
SHOWN = 10  # rows that are told by their ids


@dataclass(frozen=True)
class Result:
    """seconds: from the first row to the last. lost: rows that got what fits all rows. stopped: by a signal."""

    content: bytes
    notes: list[str]
    stream: Stream
    seconds: float
    lost: pd.Index
    stopped: bool


def main(arguments: Sequence[str], folder: Path, began: float) -> int:
    """Returns the exit code. folder: of the bundle, which becomes the working folder. began: by `time.monotonic`."""
    options = parser().parse_args(arguments)
    data, out = Path(options.data).resolve(), Path(options.out).resolve()
    os.chdir(folder)
    try:
        with board.board(), signals(), Local() as engine:
            return _predict(folder, data, out, seconds(options.time), began, engine)
    except Fault as fault:
        print(visible(str(fault)), flush=True)
        return fault.exit_code


def parser() -> argparse.ArgumentParser:
    one = argparse.ArgumentParser(prog="predict.py", description="Predicts the test rows of a competition's folder.")
    one.add_argument("--data", required=True, help="the competition's folder, with test and sample submission")
    one.add_argument("--out", default="submission.csv", help="the CSV; default: submission.csv")
    one.add_argument("--time", default=None, help="how long all of it may take: 8h45m; what adds least is left out")
    return one


def seconds(text: str | None) -> float:
    """inf where there is no limit. Raises ConfigFault CFG-VALUE."""
    try:
        return math.inf if text is None else config.seconds(text)
    except ValueError as e:
        raise ConfigFault(
            Finding("CFG-VALUE", "the command has a mistake", f"--time {text}", str(e), "--time 9h")
        ) from None


def _predict(folder: Path, root: Path, out: Path, allowed: float, began: float, engine: Engine) -> int:
    recipe = read(folder)
    data = hidden.read(recipe, root)
    here = versions.now(card.PACKAGES)
    made = [versions.differences(versions.of_run(leaf.folder), here) for leaf in recipe.leaves.values()]
    told = [f"its models were made by other versions: {text}; predictions may differ a little" for text in made if text]
    for note in dict.fromkeys((*told, *data.notes)):
        board.say(note)
    before = time.monotonic()
    content, _ = submit.made(data, _as_sampled(data, constant.prediction(data)), "the training labels", str(out))
    artifacts.write_bytes(out, content)
    board.say(f"{out}: of the training labels alone, until {recipe.run} has predicted its {len(data.test):,} rows")
    reserve = RESERVE + SHARE * allowed + 3 * (time.monotonic() - before) if allowed < math.inf else 0.0
    ends = began + allowed - reserve
    with engine.until(ends):
        result = predicted(recipe, data, ends, str(out))
    artifacts.write_bytes(out, result.content)
    _tell(result, data, out, time.monotonic() - began)
    return ending(result, data, str(out))


def ending(result: Result, data: Data, out: str) -> int:
    """The exit code, 0 where all is as it should be; the CSV is valid in any case. Says what is not."""
    lost = [f"{i!r} {why}" for i, why in result.stream.bad.items() if why.startswith("IMG-")]
    faults = [e if isinstance(e, Fault) else _failed(name, e, out) for name, e in result.stream.failed.items()]
    if 2 * len(lost) > len(data.test):
        where, mend = f"--data, {data.config.image.test if data.config.image else ''}", "are they where they were here?"
        found = f"{len(lost):,} of {len(data.test):,}: {'; '.join(lost[:SHOWN])}"
        faults.append(DataFault(Finding("IMG-MISSING", "most pictures of test can't be used", where, found, mend)))
    for fault in faults:
        print(visible(str(fault)), flush=True)
    codes = [fault.exit_code for fault in faults] + [Stopped.exit_code] * result.stopped
    return max(codes, default=0)


def _failed(name: str, error: Exception, out: str) -> Fault:
    what, found = "a run's models could not predict", f"{type(error).__name__}: {error}"
    mend = (
        f"{out} is valid and made without them; a notebook with more memory, or the versions that manifest.json names"
    )
    return EnvironmentFault(Finding("EXP-MODEL", what, name, found, mend))


def predicted(recipe: Recipe, data: Data, ends: float = math.inf, out: str = "submission.csv") -> Result:
    """The submission of these rows, of what is predicted at `ends`, by `time.monotonic`."""
    stream, began = Stream(recipe, data, Budget(recipe, len(data.test), ends)), time.monotonic()
    try:
        stream.run()
    except Stopped:
        board.say("stopped; the CSV is of what is predicted" if signalled() else "RUN-BUDGET: time is up")
    stopped = signalled()
    took = time.monotonic() - began
    told = combined(recipe, {name: said.whole for name, said in stream.said.items()})
    alone = constant.prediction(data)
    test, ids = told or (alone, alone.index)
    lost = data.test.ids.difference(ids, sort=False)
    adjusted, notes = prior.submitted(
        data.config.prior, data.problem, recipe.truth, test, recipe.adjustment if told else None
    )
    if len(lost) and not holds_boxes(test):
        adjusted = pd.concat([adjusted, alone.loc[lost]])
    table = _as_sampled(data, pick(adjusted, data.test.ids))
    content, more = submit.made(data, table, "the prediction", out)
    return Result(content, [*notes, *more], stream, took, lost, stopped)


def _as_sampled(data: Data, prediction: pd.DataFrame) -> pd.DataFrame:
    """With a row for each id that the sample alone has: what fits all rows."""
    if holds_boxes(prediction) or not len(prediction):
        return prediction
    ids = pd.Index(data.sample[data.sample_id])
    beyond = ids.difference(prediction.index, sort=False)
    one = constant.prediction(data).iloc[[0] * len(beyond)].set_axis(beyond)
    return pd.concat([prediction, one]) if len(beyond) else prediction


def _tell(result: Result, data: Data, out: Path, whole: float) -> None:
    for note in result.notes:
        board.say(note)
    bad, rows = result.stream.bad, len(data.test)
    if bad:
        some = "; ".join(f"{i!r} {why}" for i, why in list(bad.items())[:SHOWN])
        board.say(f"{len(bad)} of {rows:,} rows could not be looked at by every model, which costs these alone: {some}")
    late = [i for i in result.lost if str(i) not in bad]
    if late and not result.stream.failed:
        board.say(f"RUN-BUDGET: {len(late):,} of {rows:,} rows were not reached in time: {examples(late)}")
    rate = f"{rows / max(result.seconds, 1e-9):,.1f} rows a second"
    board.say(f"{out}: {rows:,} rows in {board.spoken(result.seconds)} ({rate}), {board.spoken(whole)} from the start")
