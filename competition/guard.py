"""Whether a CSV may be uploaded: `python -m competition guard FILE SAMPLE` for anybody's, with no configuration; `make guard
FILE=submissions/leaves/baseline.csv` for one of a competition that Podium knows, and of a run with its OOF predictions.

What surely is wrong is a fault and ends the command; what only may be wrong is a doubt, which is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from competition import artifacts, board, hostread, kept, resemblance, runs, samples, submit
from competition.boxes.form import BoxForm
from competition.data import Data, load
from competition.errors import ConfigFault, DataFault, EnvironmentFault, Finding, examples
from competition.form import infer
from competition.runs import Opened
from competition.scoring import decided, scored_folds

ENOUGH = 20  # rows from which on a column of one value is worth a word


@dataclass(frozen=True)
class Verdict:
    """faults: all that surely is wrong. unlike: faults that only the run's OOF predictions tell; the user may know better.
    doubts: sentences, each with its code. told: what the file was held against.
    """

    faults: tuple[Finding, ...]
    unlike: tuple[Finding, ...]
    doubts: tuple[str, ...]
    told: str


def guard(file: str, sample: str | None, competition: str | None) -> None:
    """The verdict on the screen. Raises DataFault with all faults, ConfigFault CFG-VALUE where it can't be told what the
    file is to be held against."""
    path = Path(file)
    if sample is not None and competition is not None:
        found, mend = f"SAMPLE={sample} COMP={competition}", "give one of them: a competition has its own sample"
        raise ConfigFault(Finding("CFG-VALUE", "the command has a mistake", "make guard", found, mend))
    verdict = alone(path, Path(sample)) if sample is not None else known(path, competition)
    for doubt in verdict.doubts:
        board.say(f"warning {doubt}")
    if verdict.faults or verdict.unlike:
        raise DataFault(*verdict.faults, *verdict.unlike)
    board.say(f"{path}: no fault found ({verdict.told})" + f"; {len(verdict.doubts)} warnings" * bool(verdict.doubts))


# By the sample alone --------------------------------------------------------------------------------------------------


def alone(path: Path, sample: Path) -> Verdict:
    """A file beside a sample submission, nothing else known. Raises DataFault where the sample itself can't be read."""
    wanted = _sample(sample)
    asked, delimiter = samples.ask(wanted), hostread.delimiter_of(sample)
    content = _bytes(path)
    if isinstance(content, Finding):
        return Verdict((content,), (), (), asked.told)
    table = hostread.parse(content, delimiter, str(path))
    if isinstance(table, Finding):
        return Verdict((table,), (), (), asked.told)
    faults = hostread.wrong_header(list(table.columns), asked.columns, delimiter, str(path))
    if faults and list(table.columns).count(asked.keys[0]) == 1 and len(asked.keys) == 1 and not asked.repeated:
        faults += hostread.wrong_ids(table[asked.keys[0]], wanted[asked.keys[0]], str(path))
    faults = faults or samples.wrong(asked, wanted, table, str(path))
    keys = list(asked.keys)
    same = [] if faults else [*hostread.constant(table.drop(columns=keys)), *_degenerate(table, wanted, keys)]
    doubts = [] if faults else [*samples.odd(asked, wanted, table), *same]
    told = f"{len(table):,} rows; by {sample}: {asked.told}"
    return Verdict(tuple(faults), (), (*_bytewise(content, sample), *doubts), told)


def _sample(path: Path) -> pd.DataFrame:
    content = _bytes(path)
    table = content if isinstance(content, Finding) else hostread.parse(content, hostread.delimiter_of(path), str(path))
    if isinstance(table, Finding):
        raise DataFault(table)
    if len(table.columns) < 2 or table.columns.has_duplicates:
        found, mend = (
            f"the columns {examples(table.columns)}",
            "name the host's own sample, with ids and a column beside",
        )
        raise DataFault(hostread.finding("CSV-HEADER", "this is no sample submission", str(path), found, mend))
    return table


# By the competition ---------------------------------------------------------------------------------------------------


def known(path: Path, competition: str | None = None) -> Verdict:
    """A file of a competition; submissions/<competition>/<run>.csv tells it, and which run's OOF predictions to look at.

    Raises ConfigFault CFG-VALUE where neither does, or both and they differ.
    """
    own = run_of(path)
    name = competition or (own or "").partition("/")[0]
    if not name:
        found = "it is not below submissions/, and no competition is named"
        mend = f"make guard FILE={path} SAMPLE=<sample_submission.csv>, or COMP=<name>"
        raise ConfigFault(Finding("CFG-VALUE", "nothing to hold the file against", f"FILE={path}", found, mend))
    if own is not None and own.partition("/")[0] != name:
        found, mend = f"COMP={name}", "leave COMP= out, or copy the file to where it belongs"
        raise ConfigFault(Finding("CFG-VALUE", "the file is of another competition", f"FILE={path}", found, mend))
    data, content = load(name), _bytes(path)
    told = f"by competition {name}"
    if isinstance(content, Finding):
        return Verdict((content,), (), (), told)
    table = submit.read(data, content, str(path))
    faults = submit.faults(data, table, str(path))
    if faults:
        return Verdict(tuple(faults), (), (), told)
    assert isinstance(table, pd.DataFrame), "a finding is a fault"
    doubts = [*_bytewise(content, Path(data.config.data) / data.config.sample), *submit.notes(data, table)]
    doubts += [*_degenerate(table, data.sample, [data.sample_id]), *_twins(path, name, content)]
    state = None if own is None else kept.state(own)
    if own is not None and state is not None:
        return _of_a_late_one(own, state, data, table, str(path), tuple(doubts))
    record = runs.recorded(own or "-")
    changed = record is not None and record["data"] != data.hash
    if changed:
        doubts.append(f"RUN-DATA: the data changed since {own} began; its out-of-fold predictions are not looked at")
    at = None if changed else _opened(own)
    if at is None:
        return Verdict((), (), tuple(doubts), f"{len(table):,} rows; {told}, without a run's out-of-fold predictions")
    unlike, far = likeness(at, table, str(path))
    told = f"{len(table):,} rows; {told} and the out-of-fold predictions of {at.run.name}"
    return Verdict((), tuple(unlike), (*doubts, *far), told)


def run_of(path: Path) -> str | None:
    """`leaves/baseline` of submissions/leaves/baseline.csv, None of a file elsewhere."""
    folder = artifacts.SUBMISSIONS.resolve()
    place = path.resolve()
    if not place.is_relative_to(folder) or place.suffix != ".csv":
        return None
    parts = place.relative_to(folder).with_suffix("").parts
    return "/".join(parts) if len(parts) == 2 else None


def likeness(at: Opened, table: pd.DataFrame, where: str) -> tuple[list[Finding], list[str]]:
    """Faults and doubts of a submission's table beside the run's out-of-fold predictions, as they are scored.

    Where `prior:` moves the shares of classes on purpose, nothing but rows of one value is a fault or a doubt.
    """
    score, fold = artifacts.read_json(at.folder / "score.json"), scored_folds(at.table)
    plain = artifacts.read_table(at.folder / "oof.parquet")
    return _beside(at.data, decided(score, plain, fold), fold.index, table, where)


def _of_a_late_one(
    run: str, state: dict[str, Any], data: Data, table: pd.DataFrame, where: str, doubts: tuple[str, ...]
) -> Verdict:
    """Of a submission that was made because time was up: beside what its own models said of the rows that they held out."""
    told = f"{len(table):,} rows; by competition {data.name}"
    doubts = (*doubts, f"RUN-BUDGET: made because time was up, of {state['told']}")
    if state["score"] is None or state["row"]["data"] != data.hash:
        return Verdict((), (), doubts, f"{told}, without out-of-fold predictions")
    prediction = artifacts.read_table(kept.folder(run) / "oof.parquet")
    unlike, far = _beside(data, prediction, pd.Index(state["rows"]), table, where)
    return Verdict((), tuple(unlike), (*doubts, *far), f"{told} and the out-of-fold predictions of {state['told']}")


def _beside(
    data: Data, prediction: pd.DataFrame, ids: pd.Index, table: pd.DataFrame, where: str
) -> tuple[list[Finding], list[str]]:
    """Of a submission's table beside out-of-fold predictions of these ids, as they are scored."""
    form = infer(data)
    if isinstance(form, BoxForm):
        assert data.train.sizes is not None
        sizes, classes = data.train.sizes.loc[ids], data.problem.classes
        found = resemblance.compare(
            resemblance.of_boxes(prediction, sizes, classes), resemblance.test_boxes(data, form, table)
        )
    else:
        oof = pd.DataFrame(submit.cells(data, form, prediction))
        found = resemblance.compare(
            resemblance.measured(form, oof), resemblance.measured(form, table), data.config.prior is not None
        )
    mend = "look at that file's rows; if test truly differs that much, upload it with FORCE=1"
    faults = [hostread.finding("SUB-FAR", what, where, told, mend) for what, told in found.faults]
    return faults, [f"SUB-FAR: {doubt}" for doubt in found.doubts]


def _opened(run: str | None) -> Opened | None:
    """The run as it was made, where it has a score."""
    made, folder = runs.made(run or "-"), artifacts.run_folder(run or "-")
    if made is None or not all((folder / name).exists() for name in ("score.json", "oof.parquet")):
        return None
    return runs.look(made)


# Doubts of any file ---------------------------------------------------------------------------------------------------


def _bytes(path: Path) -> bytes | Finding:
    if not path.is_file():
        return hostread.finding("CSV-MISSING", "there is no such file", str(path), "no file", "mend the name")
    try:
        return path.read_bytes()
    except PermissionError as e:
        raise EnvironmentFault(
            Finding("ENV-PERM", "a file can't be read", str(path), str(e), "give this user the right to read it")
        ) from None


def _bytewise(content: bytes, sample: Path) -> Iterator[str]:
    mark = b"\xef\xbb\xbf"
    if content.startswith(mark) and not sample.read_bytes().startswith(mark):
        yield "CSV-BOM: the file begins with a byte order mark, the sample does not; some hosts read it as header"
    if b"\r\n" not in content and b"\r" in content:
        yield "CSV-LINES: lines end with CR alone"


def _degenerate(table: pd.DataFrame, sample: pd.DataFrame, keys: list[str]) -> Iterator[str]:
    """Columns of one value, and the sample itself under another name. Both have the same columns."""
    columns = [c for c in table if c not in keys]
    same = [c for c in columns if table[c].nunique() == 1]
    if 0 < len(same) < len(columns) and len(table) >= ENOUGH:
        yield f"SUB-CONST: {len(same)} of {len(columns)} columns hold one value in all rows: {examples(same)}"
    if len(table) == len(sample) and _equal(table, sample, keys):
        yield "SUB-SAMPLE: the file is the sample itself; nothing is predicted"


def _equal(a: pd.DataFrame, b: pd.DataFrame, keys: list[str]) -> bool:
    """Whether two tables of as many rows hold the same ones, in whatever order."""
    first, second = (t[keys].reset_index(drop=True).sort_values(keys, kind="stable").index for t in (a, b))
    return all((a[c].to_numpy(object)[first] == b[c].to_numpy(object)[second]).all() for c in reversed(a.columns))


def _twins(path: Path, competition: str, content: bytes) -> Iterator[str]:
    """Other submissions of the same bytes."""
    others = sorted(artifacts.submission_csv(f"{competition}/_").parent.glob("*.csv"))
    for other in others:
        same = other.resolve() != path.resolve() and other.stat().st_size == len(content)
        if same and other.read_bytes() == content:
            yield f"SUB-SAME: {other} has the same bytes; a second upload of them would spend a submission on nothing"
