"""A competition with many runs, written without training: what `make compare COMP=` and `make report COMP=` are timed on.

The rows are drawn with replacement from scikit-learn's digits (UCI, 1,797 scans); what the runs predict is the truth
behind noise, of which a part is the row's own and so the same in all runs, as hard pictures are hard for every model.
Scores, folders and files are made by the code that makes those of trained runs.

    python -m benchmarks.many_runs /tmp/many [--runs 50] [--folds 5] [--rows 20000] [--classes 10]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from competition import artifacts, config, data, folds, runs
from competition.artifacts import write_bytes, write_json, write_text
from competition.decide import Stack
from competition.demo import png
from competition.predict import write_run
from competition.runs import Opened
from competition.scoring import write_score

NAME = "many"
TESTED = 1_000
EPOCHS = 30
BLENDED = 5  # runs in the one blend
BACKBONES = ("resnet10t", "resnet18", "mobilenetv4_conv_small_050", "convnext_atto")


def many_runs(folder: Path, runs: int = 50, folds: int = 5, rows: int = 20_000, classes: int = 10) -> str:
    """Writes configs, data, the fold table and the runs into `folder`; returns the competition's name.

    runs: the last of them is a blend. rows: of training, each scored out of fold. classes: 2 to 10.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(folder):
        data.load.cache_clear()
        _write_competition(folds, rows, classes)
        many = _Many()
        for number in range(runs - 1):
            many.write(number)
        many.blend()
        data.load.cache_clear()
    return NAME


def _write_competition(folds: int, rows: int, classes: int) -> None:
    from sklearn.datasets import load_digits

    digits = load_digits(n_class=classes)
    drawn = np.random.default_rng(0).integers(0, len(digits.target), rows + TESTED)
    for number in np.unique(drawn):
        write_bytes(Path(f"data/images/{number}.png"), png(digits.images[number]))
    ids = [f"{n:06d}" for n in range(rows + TESTED)]
    table = pd.DataFrame({"id": ids, "scan": drawn, "label": digits.target[drawn]})
    tables = {
        "train": table[:rows],
        "test": table[rows:][["id", "scan"]],
        "sample_submission": table[rows:][["id"]].assign(label=0),
    }
    for name, part in tables.items():
        write_text(Path(f"data/{name}.csv"), part.to_csv(index=False))
    keys = {"data": "data", "id": "id", "target": "label", "kind": "multiclass", "metric": "accuracy"}
    keys |= {"image": "images/{scan}.png", "folds": {"n": folds}}
    write_text(artifacts.competition_yaml(NAME), json.dumps(keys))  # JSON is YAML


class _Many:
    """The competition as read, and what all runs find hard."""

    def __init__(self) -> None:
        self.data = data.load(NAME)
        self.table, _ = folds.make(self.data)
        rng, truth = np.random.default_rng(1), self.data.train.truth
        assert truth is not None
        self.truth = truth.to_numpy(float)
        test = np.eye(truth.shape[1])[rng.integers(0, truth.shape[1], len(self.data.test))]
        self.hard = {name: rng.normal(0, 1, part.shape) for name, part in (("oof", self.truth), ("test", test))}
        self.sides = {"oof": (truth.index, self.truth), "test": (self.data.test.ids, test)}

    def write(self, number: int) -> None:
        """runs/many/run<number>, a little better than the one before."""
        keys = {"task": "image", "backbone": BACKBONES[number % len(BACKBONES)], "pretrained": False, "epochs": EPOCHS}
        views = ["plain", "hflip"] if number % 10 == 0 else ["plain"]
        name, rng = f"{NAME}/run{number:02d}", np.random.default_rng(number)
        at = self._opened(name, keys | {"lr": float(f"{10 ** rng.uniform(-4, -2):.2g}"), "views": views})
        for split in at.splits:
            _write_fold(at.folder / split.name, rng)
        stacks = [{view: self._guess(part, number, rng) for view in views} for part in ("oof", "test")]
        self._score(at, "views", *stacks)

    def blend(self) -> None:
        """runs/many/blend, the mean of the last runs."""
        made = sorted(path.name for path in artifacts.RUNS.glob(f"{NAME}/run*"))[-BLENDED:]
        members = [f"{NAME}/{name}" for name in made]
        at = self._opened(f"{NAME}/blend", {"members": members, "method": "mean"})
        tables = [{m: artifacts.read_table(artifacts.run_folder(m) / f"{part}.parquet") for m in members}
                  for part in ("oof", "test")]  # fmt: skip
        self._score(at, "blend", *tables)

    def _opened(self, name: str, keys: dict[str, Any]) -> Opened:
        write_text(artifacts.run_yaml(name), json.dumps(keys))
        with runs.opened(config.load_run(name)) as at:
            return at

    def _guess(self, part: str, number: int, rng: np.random.Generator) -> pd.DataFrame:
        """[rows, classes] probabilities."""
        ids, truth = self.sides[part]
        logits = (4 + 0.02 * number) * truth + self.hard[part] + rng.normal(0, 1, truth.shape)
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        return pd.DataFrame(shares, index=ids, columns=list(self.data.problem.columns))

    def _score(self, at: Opened, search: Any, oof: Stack, test: Stack) -> None:
        result = write_run(at, search, oof, test)
        if search == "blend":
            by_fold = {f"fold{k}": decision.plain() for k, decision in result.by_fold.items()}
            write_json(at.folder / "weights.json", {"all": result.final.plain()} | by_fold)
        write_score(at, artifacts.digest(at.run.name), result, oof)


def _write_fold(folder: Path, rng: np.random.Generator) -> None:
    """fit.json and the curves, as a training leaves them."""
    seconds = round(float(rng.uniform(200, 900)), 1)
    lines = []
    for epoch in range(1, EPOCHS + 1):
        done = epoch / EPOCHS
        loss, valid = 2.3 * np.exp(-4 * done) + rng.normal(0, 0.02), 1 - 0.7 * np.exp(-5 * done) - rng.uniform(0, 0.02)
        lines.append({"step": 500 * epoch, "epoch": epoch, "loss": float(loss), "lr": 2e-3 * (1 - done) + 1e-5,
                      "images_per_second": 500.0, "seconds": seconds * done, "valid": float(valid)})  # fmt: skip
    write_text(folder / "history.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    facts = {"finished": artifacts.now(), "steps": 500 * EPOCHS, "seconds": seconds, "accumulate": 1, "amp": "off"}
    write_json(folder / "fit.json", facts | {"device": "cpu", "parameters": 4_927_618, "files": {}})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    for option, default in (("--runs", 50), ("--folds", 5), ("--rows", 20_000), ("--classes", 10)):
        parser.add_argument(option, type=int, default=default)
    options, began = parser.parse_args(), time.monotonic()
    many_runs(**vars(options))
    print(f"wrote {options.runs} runs below {options.folder} in {time.monotonic() - began:.0f} s")
