"""Tells services what they do not know yet of the run folders, and uploads what W&B's client logged offline: `make sync`.

Repeated, it has nothing to do: cursors in the run folders say what is told, the client's own marks what is uploaded.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from competition import artifacts, board, runs
from competition.config import Run
from competition.data import load
from competition.engine import signals, stopping
from competition.errors import EnvironmentFault, Fault, Finding, Stopped
from competition.host import clean
from competition.tracking import choice, history, told
from competition.tracking.mirror import Mirror
from competition.tracking.told import Followed

PATIENCE = 10.0  # seconds for a mirror that works in the background
MINUTES = 30  # that the upload of one W&B run may take
LINES = 3  # of what the client says that a message shows


def sync(competition: str | None = None) -> None:
    """Of one competition, or of all. Raises EnvironmentFault ENV-TOKEN, ENV-NETWORK, ENV-CLIENT and HOST-REFUSED, once all
    that needs no network is done; nothing is lost then.
    """
    with board.board(), signals():
        names = [competition] if competition else _competitions()
        followed = [one for name in names for one in _of(name)]
        elsewhere = {name for one in _tell(followed) for name in one.growing()}
        waiting = {name: paths for name, paths in _waiting(names).items() if name not in elsewhere}
        if not waiting:
            board.say("nothing waits to be uploaded")
            return
        _refuse_unreachable(sum(map(len, waiting.values())))
        _upload(waiting)


def _competitions() -> list[str]:
    """Those with a run folder that still have their configuration."""
    found = sorted({path.parent.parent.name for path in artifacts.RUNS.glob("*/*/run.json")})
    return [name for name in found if artifacts.competition_yaml(name).exists()]


def _of(competition: str) -> Iterator[Followed]:
    """Its runs that have begun to train or have a score, and its searches, as they are followed while they train; `none`
    counts as wandb, for who says sync wants it told."""
    for path in sorted(artifacts.RUNS.glob(f"{competition}/*/run.json")):
        name = f"{competition}/{path.parent.name}"
        begun = any(path.parent.glob(f"fold*/{history.NAME}")) or (path.parent / "score.json").exists()
        try:
            if begun and (run := runs.made(name)) is not None:
                yield _followed(run)
            elif (path.parent / "trials.csv").exists():
                yield _search(name)
        except Fault as fault:
            board.say(f"warning: {name} is left out: {choice.reason(fault)}")


def _followed(run: Run, keys: Sequence[str] | None = None) -> Followed:
    """Raises Fault where the run's folder is not of today's data or folds."""
    at = runs.look(run)
    service = "tensorboard" if at.data.config.tracking == "tensorboard" else "wandb"
    return told.of(at, service, keys)


def _search(name: str) -> Followed:
    from competition.tuning import space

    run = runs.resolve(name.removesuffix("~tune"))
    keys = [*space.of(run, load(run.competition).problem.kind)]
    return _followed(run.model_copy(update={"name": name}), keys)


def _tell(followed: Sequence[Followed]) -> list[Followed]:
    """Into offline files: what is uploaded is then one thing, whoever logged it. Returns those that another process follows:
    files that still grow are uploaded later."""
    mirror = Mirror("offline", PATIENCE)
    for n, one in enumerate(followed):
        if stopping():
            break
        board.show("telling", n, len(followed), one.run)
        mirror.follow(one)
        mirror.poll()
    mirror.close()
    if stopping():
        raise Stopped("stopped while runs were told")
    left = [one for one in followed if one.run in mirror.left()]
    if left:
        board.say(f"still to be told, make sync again later: {', '.join(one.run for one in left)}")
    return left


def _waiting(competitions: Sequence[str]) -> dict[str, list[Path]]:
    """Id of each W&B run that is not uploaded, or not whole -> its folders, the oldest first."""
    from competition.tracking.wandbs import ROOT

    found: dict[str, list[Path]] = defaultdict(list)
    for competition in competitions:
        for path in sorted((ROOT / competition).glob("wandb/*run-*/run-*.wandb")):
            if not path.with_name(path.name + ".synced").exists():
                found[path.stem.removeprefix("run-")].append(path.parent)
    return dict(found)


def _refuse_unreachable(count: int) -> None:
    here = choice.account()
    kept = f"nothing is lost: {count} folders wait below {artifacts.RUNS / '.wandb'}"
    if here.missing:
        mend = "`wandb login`, or set WANDB_API_KEY, then make sync again"
        raise EnvironmentFault(Finding("ENV-TOKEN", "W&B does not know you", here.host, here.missing, mend, kept))
    if not choice.reachable(here.url):
        found = f"no connection within {choice.CONNECTION:.0f} seconds"
        mend = "look at the network, then make sync again"
        raise EnvironmentFault(Finding("ENV-NETWORK", "W&B can't be reached", here.host, found, mend, kept))


def _upload(waiting: dict[str, list[Path]]) -> None:
    """What one W&B run is refused for, the next would be too: the first refusal ends it."""
    for n, (name, folders) in enumerate(waiting.items()):
        board.show("upload", n, len(waiting), name)
        why = _client(folders, f"upload {n + 1}/{len(waiting)}")
        if why:
            found, mend = f"{n} of {len(waiting)} are uploaded; {name}: {why}", "mend that, then make sync again"
            kept = f"nothing is lost: the rest waits below {artifacts.RUNS / '.wandb'}"
            raise EnvironmentFault(Finding("HOST-REFUSED", "W&B did not take a run", "wandb sync", found, mend, kept))
        board.say(f"uploaded {n + 1}/{len(waiting)}: {', '.join(folder.name for folder in folders)}")


def _client(folders: Sequence[Path], label: str) -> str:
    """The client's own sync of the parts of one W&B run; why it failed, empty where it did not."""
    command = [sys.executable, "-m", "wandb", "sync", "--include-online", *map(str, folders)]
    with tempfile.TemporaryFile() as out:
        environ = {k: v for k, v in os.environ.items() if k != "WANDB_MODE"}  # offline, it uploads nothing
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=environ)
        began = time.monotonic()
        while process.poll() is None and not stopping() and (passed := time.monotonic() - began) < 60 * MINUTES:
            board.show(label, int(passed), 60 * MINUTES, "seconds at most")
            time.sleep(0.2)
        if process.poll() is None:
            process.kill()
            process.wait()
            if stopping():
                raise Stopped("stopped while runs were uploaded")
        out.seek(0)
        lines = [line for line in clean(out.read().decode(errors="replace")).splitlines() if line.strip()]
    told_so = all(any(folder.glob("*.synced")) for folder in folders)
    errors = [line for line in lines if "ERROR" in line or "rror:" in line] or lines
    return "" if process.returncode == 0 and told_so else "; ".join(errors[:LINES]) or f"exit code {process.returncode}"
