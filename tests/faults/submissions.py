"""Rows 73 to 84: predictions, blends and submissions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from conftest import write

from competition import artifacts, cli, data, submit
from competition.errors import DataFault
from faults.case import Case, Make
from faults.making import SAMPLE, SUBMIT, afresh, after, at, boxes, cells, finished, parquet, put, submitted, table


def checked(change: Callable[[pd.DataFrame], str], code: str) -> Callable[[], None]:
    """What `submit.check`, which the upload asks, says of a file that another tool has written."""

    def act() -> None:
        Path("mine.csv").write_text(change(cells(SAMPLE)))
        problems = submit.check(data.load("toy"), Path("mine.csv"))
        if problems:
            raise DataFault(*problems)

    return act


def foreign_csv(name: str, code: str, change: Callable[[pd.DataFrame], str], said: tuple[str, ...] = ()) -> Case:
    return Case(83, name, table(), checked(change, code), "error", code, 3, said)


def two_members(change: Callable[[], object]) -> Callable[[Make], None]:
    def begin(make: Make) -> None:
        table()(make)
        for name in "ab":
            assert cli.main([*SUBMIT, "--set", f"seed={ord(name)}", "--as", f"toy/{name}"]) == 0
        write("configs/toy/blend.yaml", {"members": ["toy/a", "toy/b"]})

    def build(make: Make) -> None:
        finished(make, "two members", begin)
        afresh()
        change()

    return build


def weights_gone_wrong() -> None:
    assert cli.main(BLEND) == 0
    afresh()
    path = Path("runs/toy/a/score.json")
    score = artifacts.read_json(path)
    artifacts.write_json(path, score | {"weights_by_fold": {k: {"plain": -1} for k in score["weights_by_fold"]}})
    Path("runs/toy/blend/score.json").unlink()


def hole_and_copy(here: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([here[2:], here[5:6]])


BLEND = ("submission", "toy/blend")
PREDICTED = "runs/toy/base/test.parquet"
FEW = lambda: put(cells(SAMPLE).head(3), SAMPLE)  # noqa: E731


def after_prediction(change: Callable[[pd.DataFrame], pd.DataFrame], **keys: object) -> Callable[[Make], None]:
    return after(SUBMIT, lambda: (afresh(), parquet(PREDICTED, change)()), **keys)


CASES = [
    Case(73, "other ids in the sample", table(lambda: put(cells(SAMPLE).replace("060", "999"), SAMPLE)), SUBMIT, "error",
         "SUB-IDS", 3, ("'999'", "'060'")),
    Case(74, "a placeholder of three rows", table(FEW), SUBMIT, "error", "SUB-STALE", 3, ("9 of test", "`ids: test`")),
    Case(74, "a stale sample with more rows",
         table(lambda: put(pd.concat([cells(SAMPLE), cells(SAMPLE).replace("0", "x", regex=True)]), SAMPLE)), SUBMIT,
         "error", "SUB-STALE", 3, ("12 of the sample not in test",)),
    Case(74, "ids: test writes them all", table(FEW, ids="test"), SUBMIT, "handled", holds=submitted("\n060,", "\n071,")),
    Case(74, "ids: sample writes its own", table(FEW, ids="sample"), SUBMIT, "handled",
         holds=lambda: len(cells("submissions/toy/base.csv")) == 3 or 1 / 0, slow=True),
    Case(74, "ids: test of boxes", boxes(FEW, ids="test"), SUBMIT, "handled", said=("of 12 pictures",), slow=True),
    Case(75, "the sample in another order", table(lambda: put(cells(SAMPLE)[::-1], SAMPLE)), SUBMIT, "handled",
         holds=lambda: [*cells("submissions/toy/base.csv")["id"]] == [*cells(SAMPLE)["id"]] or 1 / 0, slow=True),
    Case(76, "predictions that are no numbers", after_prediction(at({(0, 0): np.nan, (1, 0): np.inf})), SUBMIT, "error",
         "SUB-NONFINITE", 3, ("'060, dark: nan'", "'061, dark: inf'")),
    Case(77, "a member that says nan", two_members(parquet("runs/toy/a/oof.parquet", at({(3, 1): np.nan}))),
         BLEND, "error", "ENS-NAN", 3, ("toy/a, oof.parquet",)),
    Case(78, "members of other ids and classes",
         two_members(lambda: (parquet("runs/toy/a/oof.parquet", lambda h: h.drop("003"))(),
                              parquet("runs/toy/b/test.parquet", lambda h: h.rename(columns={"dark": "black"}))())),
         BLEND, "error", "ENS-ALIGN", 3, ("1 ids are missing: '003'", "columns black, grey, light")),
    Case(78, "members in another order",
         two_members(lambda: parquet("runs/toy/a/oof.parquet", lambda h: h.iloc[::-1, ::-1])()), BLEND,
         "handled", said=("toy/blend: CV",)),
    Case(79, "weights that are none", two_members(weights_gone_wrong), BLEND, "error", "ENS-WEIGHT", 3,
         ("'plain: -1'",), slow=True),
    Case(80, "probabilities outside 0..1", after_prediction(at({(0, 0): 1.5, (1, 0): -0.2})), SUBMIT, "error", "SUB-PROB", 3,
         ("'060, dark: 1.5'",)),
    Case(80, "rows that don't sum to 1", after_prediction(lambda h: h / 2, metric="accuracy"), SUBMIT, "warning", "SUB-PROB",
         said=("sum to 0.5", "divided by that")),
    Case(81, "out-of-fold rows missing and twice",
         after(SUBMIT, lambda: (afresh(), parquet("runs/toy/base/fold0/oof.parquet", hole_and_copy)(),
                                Path("runs/toy/base/score.json").unlink())),
         SUBMIT, "error", "OOF-COVER", 3, ("2 missing", "twice")),
    Case(82, "all predictions the same", after_prediction(lambda h: h * 0 + 1 / 3), SUBMIT, "warning", "SUB-CONST",
         said=("all 12 rows",)),
    foreign_csv("an index column", "CSV-HEADER", lambda h: h.to_csv(), ("extra: ''",)),
    foreign_csv("another header", "CSV-HEADER", lambda h: h.set_axis(["Id", "Label"], axis=1).to_csv(index=False)),
    foreign_csv("ids as numbers", "SUB-IDS", lambda h: h.assign(id=h["id"].astype(float)).to_csv(index=False),
                ("read as numbers",)),
    foreign_csv("names of no class", "SUB-LABEL", lambda h: h.assign(label="0").to_csv(index=False)),
    foreign_csv("a blank cell", "SUB-LABEL", lambda h: h.assign(label="").to_csv(index=False)),
]  # fmt: skip

UNTRIED: dict[int, str] = {
    84: "rows 1 to 29 try every bad picture of test as well as of train",
}
