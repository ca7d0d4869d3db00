"""Makes a run again from its card alone and holds the two against each other: `make reproduce RUN=leaves/baseline`.

All is made anew in `runs/.reproduce/<name>/<run>/`: fold table, decoded pictures, folds, blend, CSV, and all runs that it
is made of. What differs by now (versions, commit, hardware) is said first. The verdict is of OOF, test predictions and CSV;
weights are told beside it, for some libraries write the time into theirs. `reproduced.json` in the run's folder keeps it.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

from competition import artifacts, board, card, locks, remaking
from competition.engine import signals
from competition.errors import DataFault, Finding
from competition.lineage import Carded, lineage, unknown_threads
from competition.sameness import DIFFERENT, EQUAL, ROUNDED, ROUNDING, Same, files, worst

COUNTED = (".parquet", ".csv")  # of which the verdict is


def reproduce(name: str, as_json: bool = False) -> None:
    """Tells the verdict. Raises DataFault REPRO-DIFFERS, and what `lineage` and `remaking` raise."""
    with contextlib.redirect_stdout(sys.stderr if as_json else sys.stdout):
        record = verdict(name, as_json)
    if as_json:
        print(json.dumps(record, indent=1))
    if record["verdict"] == DIFFERENT:
        raise DataFault(_different(name, record))


def verdict(name: str, quiet: bool) -> dict[str, Any]:
    """Makes the run again where that is not done, and compares. Returns reproduced.json. quiet: stdout is kept clear."""
    found, at = lineage(name), artifacts.again_folder(name)
    now = card.surroundings()
    apart = {what: told for one in found.values() for what, told in card.differences(one.record, now).items()}
    for line in before(found, apart):
        board.say(f"{name}: {line}")
    with locks.locked(at):
        with board.board(), signals():
            remaking.lay_out(at, name, found)
        anew = remaking.make(at, found, quiet)
        record = recorded(name, found, at, apart)
    artifacts.write_json(artifacts.run_folder(name) / "reproduced.json", record)
    board.console.print(table(name, record))
    board.say(f"{name}: {sentence(record)}")
    board.say(f"made {'again' if anew else 'earlier, and compared anew; delete it to make it again'}: {at}, "
              f"{remaking.megabytes(at)}")  # fmt: skip
    return record


def before(found: dict[str, Carded], apart: dict[str, str]) -> Iterator[str]:
    """What a user should know before it starts, in sentences."""
    name, one = next(reversed(found.items()))
    if len(found) > 1:
        yield f"is made of {', '.join(part for part in found if part != name)}, which are made again first"
    lacking = [text for key, text in card.LATER.items() if key not in one.record]
    lacking += ["threads (one a fold is taken, or all cores with `jobs: 1`)"] * any(
        map(unknown_threads, found.values())
    )
    if lacking:
        yield f"its card lacks {'; '.join(lacking)}"
    for what, told in apart.items():
        yield f"{what}: {told}"
    if apart:
        yield "it is made again all the same; what these change is told at the end"


def recorded(name: str, found: dict[str, Carded], at: Path, apart: dict[str, str]) -> dict[str, Any]:
    """reproduced.json: the verdict, by file, both scores, and where and with what it was made again."""
    compared = list(compare(name, found, at))
    scores = [artifacts.read_json(p)["score"] if p.exists() else None for p in _both(at, name, "score.json")]
    made = artifacts.read_json(at / "made.json")
    return {
        "verdict": worst([one for one in compared if Path(one.what).suffix in COUNTED]),
        "files": [vars(one) for one in compared],
        "score": dict(zip(("there", "here"), scores, strict=True)),
        "differs": apart,
        "card": card.stamp(found[name].record),
    } | made


def compare(name: str, found: dict[str, Carded], at: Path) -> Iterator[Same]:
    """The run's own files, and of each run that it is made of its out-of-fold predictions."""
    digests = found[name].record.get("results", {})
    for part, one in found.items():
        if part != name and (one.folder / "oof.parquet").exists():
            yield files(f"{part}/oof.parquet", *_both(at, part, "oof.parquet"))
    folder = artifacts.run_folder(name)
    for kind in ("model*", "oof.parquet"):
        for path in (path for fold in found[name].folds for path in sorted(fold.glob(kind))):
            inner = path.relative_to(folder).as_posix()
            yield files(inner, *_both(at, name, inner))
    for part in ("oof", "test"):
        yield files(f"{part}.parquet", *_both(at, name, f"{part}.parquet"), digests.get(part))
    csv = artifacts.submission_csv(name)
    if csv.exists() or "csv" in digests:
        yield files(csv.as_posix(), csv, at / csv, digests.get("csv"))


def _both(at: Path, name: str, file: str) -> tuple[Path, Path]:
    path = artifacts.run_folder(name) / file
    return path, at / path


def table(name: str, record: dict[str, Any]) -> Table:
    """Of what the verdict is of, and of weights that can be compared tensor by tensor; a line on the other ones below it."""
    rows = [one for one in record["files"] if Path(one["what"]).suffix in (*COUNTED, ".safetensors")]
    others = [one["verdict"] == EQUAL for one in record["files"] if one not in rows]
    told = f"of {len(others)} other files of models {sum(others)} are equal to the byte; some libraries write the time there"
    columns = ["file", "verdict"] + ["largest gap", "rows apart", ""] * any(
        one["verdict"] != EQUAL or one["note"] for one in rows
    )
    shown = Table(title=f"{name}, made again", caption=told if others else None)
    for column in columns:
        shown.add_column(column, no_wrap=column in ("file", "verdict"), overflow="fold")
    for one in rows:
        same = one["verdict"] == EQUAL
        gap = "" if same or one["greatest"] is None else f"{one['greatest']:.3g}"
        share = "" if same or one["share"] is None else f"{one['share']:.2%}"
        shown.add_row(*[one["what"], one["verdict"], gap, share, one["note"]][: len(columns)])
    return shown


def sentence(record: dict[str, Any]) -> str:
    """The verdict in one sentence."""
    of = [one["what"] for one in record["files"] if Path(one["what"]).suffix in COUNTED]
    csv = " and the CSV" if any(file.endswith(".csv") for file in of) else ""
    what = f"out-of-fold and test predictions ({sum(file.endswith('.parquet') for file in of)} files){csv}"
    rule = (
        f" (no number apart by more than {ROUNDING:g} of its column's largest)" if record["verdict"] == ROUNDED else ""
    )
    return f"{what} are {record['verdict']}{rule}, {machine(record['differs'])}" + "; there was no CSV" * (not csv)


def machine(apart: dict[str, str]) -> str:
    """With what else than the first time it was made."""
    if not apart:
        return "with the same code, versions and hardware"
    return f"with other {', '.join(apart)}"


def _different(name: str, record: dict[str, Any]) -> Finding:
    there, here = (
        "no score" if score is None else f"{score:.6g}" for score in (record["score"][k] for k in ("there", "here"))
    )
    bad = [
        one["what"] for one in record["files"] if one["verdict"] == DIFFERENT and Path(one["what"]).suffix in COUNTED
    ]
    return Finding(
        code="REPRO-DIFFERS",
        what="the run made again is different",
        where=f"RUN={name}, {artifacts.again_folder(name)}",
        found=f"{', '.join(bad[:6])}; CV {there} there, {here} here; {machine(record['differs'])}",
        mend="the commit and the versions of the card (`git checkout`, `make setup`), on the same hardware"
        if record["differs"]
        else "a file of the run's folder was changed by hand, or something draws without a seed: hold the two folders "
        "against each other",
        risk="what it scored is not what this code, on this machine, scores",
    )
