"""A submission to its host and the score back into the ledger: `make upload FILE=submissions/leaves/baseline.csv WAIT=1`.

The guard runs first. The message carries the file's digest, so that the host's own list tells what was uploaded before, from
whatever machine: the same file is not uploaded twice, its score is fetched instead.
"""

from __future__ import annotations

import math
import re
import time
from pathlib import Path

from competition import artifacts, board, guard, host, kept, ledger, runs
from competition.config import load_competition
from competition.engine import signals, stopping
from competition.errors import ConfigFault, DataFault, EnvironmentFault, Finding, Stopped
from competition.host import Submitted

SLUG = re.compile(r"[a-z0-9][a-z0-9-]*")
PAUSES = (1, 2, 4, 8, 15)  # seconds between looks at the score, the last again and again
PATIENCE = 3600.0  # seconds
DIGITS = 12  # of the file's digest that the message has


def upload(file: str, message: str | None, competition: str | None, wait: bool, force: bool) -> None:
    """Raises DataFault with what the guard found, EnvironmentFault ENV-CLIENT, ENV-TOKEN, ENV-NETWORK, HOST-LIMIT,
    HOST-JOIN, HOST-REFUSED, ConfigFault HOST-NAME; nothing is changed then. DataFault HOST-SCORE where the host can't score
    the file.
    """
    path = Path(file)
    name = competition or (guard.run_of(path) or "").partition("/")[0]
    with board.board(), signals():
        verdict = guard.known(path, competition)
        if verdict.faults:
            raise DataFault(*verdict.faults)
        slug = slug_of(name)
        for told in host.open_to_others():
            board.say(f"warning {told}")
        mark = f"file {artifacts.file_digest(path)[:DIGITS]}"
        before = host.submitted(slug)
        one = None if force else next((s for s in before if mark in s.message and s.status != "ERROR"), None)
        if one is not None:
            board.say(f"uploaded before, {one.date}: {one.message}; its score is looked up (FORCE=1 uploads it again)")
        else:
            _tell(verdict, force)
            one = _send(slug, path, f"{message or _message(path)} {mark}", mark, {s.ref for s in before})
        _keep(path, name, mark, _scored(slug, one, wait))


def enter(file: str, public: str, private: str | None) -> None:
    """Scores by hand, into the ledger's row of the file's run: `make score FILE= PUBLIC= [PRIVATE=]`."""
    path = Path(file)
    run = guard.run_of(path)
    wrong = [f"{k}={v}" for k, v in (("PUBLIC", public), ("PRIVATE", private)) if v is not None and not _number(v)]
    if wrong:
        raise ConfigFault(Finding("CFG-VALUE", "a score is a number", "make score", ", ".join(wrong), "PUBLIC=0.8134"))
    if run is None or not ledger.rows_of(run):
        found = "no row of the ledger is of this file"
        mend = f"FILE=submissions/<competition>/<run>.csv, or write the score into {artifacts.LEDGER} yourself"
        raise DataFault(Finding("LEDGER-ROW", "the score has no place", f"FILE={file}", found, mend))
    ledger.fill(run, _known(run), public=public, private=private or "")
    board.say(f"{artifacts.LEDGER}: {run}, public {public}" + f", private {private}" * bool(private))


def slug_of(competition: str) -> str:
    """The competition's name at its host: `slug:`, or its name here. Raises ConfigFault CFG-MISSING where that can't be."""
    slug = load_competition(competition).slug or competition
    if not SLUG.fullmatch(slug):
        what, mend = "the competition's name at its host is not known", "add `slug: <last part of its address>`"
        where = f"{artifacts.competition_yaml(competition)}, key slug"
        raise ConfigFault(Finding("CFG-MISSING", what, where, f"{slug!r} can't be one", mend, "nothing was uploaded"))
    return slug


def _tell(verdict: guard.Verdict, force: bool) -> None:
    if verdict.unlike and not force:
        raise DataFault(*verdict.unlike)
    for told in (*verdict.doubts, *(f"{f.code}: {f.what} ({f.found})" for f in verdict.unlike)):
        board.say(f"warning {told}")


def _send(slug: str, path: Path, message: str, mark: str, before: set[str]) -> Submitted:
    """Uploads, and finds it in the host's list by its mark, for a host may trim messages."""
    limits = host.limits(slug)
    board.say(f"{slug}: {limits}")
    if limits.left == 0:
        mend = "give the same command again after 00:00 UTC"
        what = "the host takes no more submissions today"
        raise EnvironmentFault(Finding("HOST-LIMIT", what, slug, str(limits), mend, "nothing was uploaded"))
    host.submit(slug, path, message)
    board.say(f"uploaded {path}: {message}")
    for pause in PAUSES:
        new = [s for s in host.submitted(slug) if s.ref not in before and mark in s.message]
        if new:
            board.say(f"{slug}: {host.limits(slug)}")
            return new[0]
        _sleep(pause)
    found, mend = "it is not in the host's list of submissions", "look at the host's page before you upload it again"
    raise EnvironmentFault(
        Finding("HOST-REFUSED", "an upload is not to be seen", slug, found, mend, "it may have counted")
    )


def _scored(slug: str, one: Submitted, wait: bool) -> Submitted:
    """The submission with its score; without one where that is not waited for. Raises DataFault HOST-SCORE, Stopped."""
    began, looks = time.monotonic(), 0
    while one.status == "PENDING" and wait and time.monotonic() - began < PATIENCE:
        board.show(f"{slug} score", int(time.monotonic() - began), int(PATIENCE), "seconds at most")
        _sleep(PAUSES[min(looks, len(PAUSES) - 1)])
        one, looks = next((s for s in host.submitted(slug) if s.ref == one.ref), one), looks + 1
    if one.status == "ERROR":
        found, mend = f"submission {one.ref} ended with an error", "its reason stands on the host's page of submissions"
        risk = "it has no score; the host's page says whether it counts"
        raise DataFault(Finding("HOST-SCORE", "the host can't score the file", slug, found, mend, risk))
    return one


def _keep(path: Path, competition: str, mark: str, one: Submitted) -> None:
    """Into the ledger's row of the file's run; of any other file into a row of its own, told by its digest: another file
    of this name, or of another competition, has another."""
    if not one.public:
        late = "not scored yet; the same command fetches the score later, with WAIT=1 it waits"
        board.say(late if one.status == "PENDING" else "the host shows no public score of it")
        return
    run = guard.run_of(path)
    known = _known(run) if run else {}
    if run is None or not ledger.rows_of(run):
        run, known = run or path.name, {"config": mark}
        row = {"time": artifacts.now(), "competition": competition, "run": run}
        ledger.record(row | dict.fromkeys(ledger.KEY[1:], "") | known)
    ledger.fill(run, known, public=one.public, private=one.private)
    board.say(f"public score {one.public}" + f", private {one.private}" * bool(one.private) + f": {artifacts.LEDGER}")


def _message(path: Path) -> str:
    """Run, CV and config hash, as the ledger has them."""
    run = guard.run_of(path)
    rows = ledger.rows_of(run) if run else []
    if run is None or not rows:
        return path.name
    row = ledger.best(rows, _known(run))
    spread = f" ± {row['cv_std']}" if row["cv_std"] else ""
    return f"{run} {row['metric']} {row['cv']}{spread} config {row['config'][:8]}"


def _known(run: str) -> dict[str, str]:
    """What tells the row of a run's present file from those of its earlier settings; nothing of a run that is gone."""
    late = kept.record(run)
    if late is not None:
        return {key: late["row"][key] for key in ledger.KEY}
    made, record = runs.made(run), runs.recorded(run)
    if made is None or record is None:
        return {}
    return {"config": runs.identity(made, ("fit", "predict")), "data": record["data"], "folds": record["folds"]}


def _sleep(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if stopping():
            raise Stopped("stopped while the score was waited for; the upload is done")
        time.sleep(0.1)


def _number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
