"""How a run is made again from cards alone: a folder of its own, with the two YAML files, the fold table and what stages
leave behind, and `python -m competition` run there.

    runs/.reproduce/<name>/<run>/  configs/ folds/ runs/ submissions/   as in the project
                                   layout.json   of which cards and versions, written when it is laid out
                                   made.json     written last
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import yaml

from competition import artifacts, board, card, config, data, disk, folds, git, runs, stacked, train
from competition.config import Run
from competition.engine import signals, stopping
from competition.errors import ConfigFault, DataFault, EnvironmentFault, Fault, Finding, SafetyFault, Stopped
from competition.imported import PARTS, source
from competition.lineage import Carded, in_process, steps
from competition.portfolio import short

FAULTS: dict[int, type[Fault]] = {f.exit_code: f for f in (ConfigFault, DataFault, EnvironmentFault, SafetyFault)}
POLL = 0.2  # seconds
WHAT = ("config", "competition", "files", "data", "folds", "inputs")  # keys of a card that say what is to be made


# The folder -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def inside(at: Path) -> Generator[None]:
    """Works in that folder; what was read of a competition of the same name elsewhere is forgotten."""
    data.load.cache_clear()
    try:
        with contextlib.chdir(at):
            yield
    finally:
        data.load.cache_clear()


def lay_out(at: Path, name: str, found: dict[str, Carded]) -> None:
    """Writes the folder from the cards, or goes on in it where it was laid out from the same; then reads data and fold
    table there, and the pictures. Raises DataFault RUN-DATA, RUN-FOLDS where they are not those of the card.
    """
    of: dict[str, Any] = {run: {key: one.record.get(key) for key in WHAT} for run, one in found.items()}
    of |= {key: value for key, value in card.surroundings().items() if key != "made"}
    layout, project = at / "layout.json", Path.cwd()
    if not layout.exists() or artifacts.read_json(layout) != of:
        _empty(at)
        _write_competition(at, found[name])
        for one in found.values():
            _write_run(at, one, found)
        artifacts.write_json(layout, of)
    with inside(at):
        for one in found.values():
            _same(one, project)


def _empty(at: Path) -> None:
    for path in at.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != ".lock":
            path.unlink()


def _write_competition(at: Path, one: Carded) -> None:
    """competition.yaml as the card has it, `data:` from where it lies now, unmirrored; beside it what else stands there."""
    name = one.run.competition
    values = dict(one.record.get("competition") or card.of_competition(config.load_competition(name)))
    if not Path(values["data"]).is_dir():  # of another machine, or moved
        values["data"] = config.load_competition(name).data
    values["data"] = str(Path(values["data"]).absolute())
    values["tracking"] = "none"  # ids come from the run's name: its curves would be written over
    home = at / artifacts.competition_yaml(name).parent
    home.mkdir(parents=True)
    there = artifacts.competition_yaml(name).parent
    for path in there.iterdir() if there.is_dir() else ():
        if path.suffix != ".yaml":
            disk.link(home / path.name, path.absolute())
    _write_yaml(at / artifacts.competition_yaml(name), values)


def _write_run(at: Path, one: Carded, found: dict[str, Carded]) -> None:
    """The run's file, and its own files as they were: code that is another now is looked for in git."""
    run, values = one.run, card.of_run(one.record)
    if "+" not in run.name:
        members = [found[part] for part in one.parts if part.startswith(f"{run.name}+")]
        values |= {"jobs": 1} if any(map(in_process, (one, *members))) else {}
        values |= {"time": "0s"} if run.preset else {}  # its models are made one by one; no other is begun
        _write_yaml(at / artifacts.run_yaml(run.name), _absolute(values))
    for path, digest in one.record.get("files", {}).items():
        _restore(at, Path(path), digest, one.record.get("git"))
    for part in PARTS:
        given = source(one.folder, part)
        if given.exists():
            artifacts.write_bytes(at / given, given.read_bytes())


def _absolute(values: dict[str, Any]) -> dict[str, Any]:
    """The same, paths of weights files from the project's folder."""
    plain = {key: _absolute(value) if isinstance(value, dict) else value for key, value in values.items()}
    path = plain.get(card.WEIGHTS)
    if isinstance(path, str) and not path.startswith("run:"):
        plain[card.WEIGHTS] = str(Path(path).expanduser().absolute())
    return plain


def _restore(at: Path, path: Path, digest: str, sha: str | None) -> None:
    """Raises DataFault RUN-DATA where a file of the user's is no longer what it was, nor to be had from git."""
    if path.is_file() and artifacts.file_digest(path) == digest:
        return
    committed, home = git.committed(sha, path), (at / path).parent
    ours = home.resolve().is_relative_to((at / artifacts.CONFIGS).resolve())  # no folder that is linked to, no weights
    if committed is None or artifacts.bytes_digest(committed) != digest or not ours:
        what, found = "a file of yours is no longer what the run was made with", f"its digest was {digest}"
        raise DataFault(Finding("RUN-DATA", what, str(path), found, "bring it back", "the run would be another one"))
    (at / path).unlink(missing_ok=True)
    artifacts.write_bytes(at / path, committed)


def _write_yaml(path: Path, values: dict[str, Any]) -> None:
    artifacts.write_text(path, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))


def _same(one: Carded, project: Path) -> None:
    """Whether data, fold table and what the tables don't hold are those of the card, within the folder."""
    run, record = one.run, one.record
    loaded = data.load(run.competition)
    if loaded.hash != record["data"]:
        raise DataFault(_other("RUN-DATA", "data", loaded.config.data, record["data"], loaded.hash))
    _fold_table(one, loaded, project)
    made = config.load_run(run.name.partition("+")[0])
    if "+" in run.name:
        made = config.member(made, run.name)
        _still(one, made)
    if run.members is None and not stacked.given(run) and not getattr(run.task, "of", ()):
        with runs.opened(made) as opened:
            train.prepare(opened)
        now = artifacts.read_json(card.path_of(run.name))["inputs"]
        if record["inputs"] not in (None, now):
            raise DataFault(_other("RUN-DATA", "pictures or functions", loaded.config.data, record["inputs"], now))


def _still(one: Carded, now: Run) -> None:
    """Raises ConfigFault RUN-DIFFERS where a preset has come to give the model other settings."""
    mine, theirs, parts = now.config(), one.run.config(), now.parts()
    differing = {k: v for k, v in theirs.items() if parts.get(k) == "fit" and k != card.WEIGHTS and mine.get(k) != v}
    if differing:
        told = ", ".join(f"{key}: {value} there, {mine.get(key)} now" for key, value in differing.items())
        what = f"the preset gives {short(one.run.name)} other settings by now"
        mend = f"git checkout {str(one.record.get('git')).rstrip('+')}, and the same command"
        raise ConfigFault(Finding("RUN-DIFFERS", what, f"RUN={one.run.name}", told, mend))


def _fold_table(one: Carded, loaded: data.Data, project: Path) -> None:
    """Drawn anew; one that was made by hand, or by an older version, is the project's file or git's."""
    path, wanted = artifacts.fold_table(loaded.name), one.record["folds"]
    table = folds.load(loaded) if path.exists() else folds.make(loaded)[0]
    if table.hash == wanted:
        return
    drawn, mine = table.hash, project / path
    others = [mine.read_bytes() if mine.exists() else None, git.committed(one.record.get("git"), path)]
    for content in filter(None, others):
        artifacts.write_bytes(path, content)
        if folds.load(loaded).hash == wanted:
            board.say(f"the fold table is no drawn one; {path} has the card's hash")
            return
    path.unlink()
    raise DataFault(_other("RUN-FOLDS", "fold table", f"{path}, and one drawn anew", wanted, drawn))


def _other(code: str, what: str, where: str, there: str, now: str) -> Finding:
    return Finding(
        code=code,
        what=f"the {what} are not those of the card",
        where=where,
        found=f"hash {there} there, {now} now",
        mend=f"bring the {what} back; a run on others is another run",
        risk="the run made again would tell nothing about the first one; nothing was started",
    )


# Making ---------------------------------------------------------------------------------------------------------------


def make(at: Path, found: dict[str, Carded], quiet: bool) -> bool:
    """Runs the commands there, unless all were. Returns whether it did. Raises Stopped, and a Fault where one fails."""
    if (at / "made.json").exists():
        return False
    board.say(cost(at, found))
    for words, threads in steps(found):
        board.say(f"in {at}: python -m competition {' '.join(words)}")
        _command(at, words, threads, quiet)
    artifacts.write_json(at / "made.json", card.surroundings())
    return True


def cost(at: Path, found: dict[str, Carded]) -> str:
    """What it took the first time, of all that it is made of."""
    seconds = [float(fit["seconds"]) for one in found.values() for fit in one.fits.values() if "seconds" in fit]
    told = f"its folds were trained for {board.spoken(sum(seconds))} in all, " if seconds else ""
    return f"{told}its files are {megabytes(*(one.folder for one in found.values()))}; expect about that again, in {at}"


def megabytes(*folders: Path) -> str:
    """Of all files below, as `12 MB`."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return f"{sum(path.stat().st_size for path in files) / 1e6:,.1f} MB"


def _command(at: Path, words: list[str], threads: int, quiet: bool) -> None:
    """One command in a process of its own, which a signal reaches through us. quiet: what it shows goes to stderr."""
    code = str(Path(__file__).parents[1])
    path = os.pathsep.join([code, *filter(None, [os.environ.get("PYTHONPATH")])])
    env = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    begin = f"from competition import below; below.run({os.getpid()})"
    whole = [sys.executable, "-c", begin, *words]
    with (
        signals(),
        subprocess.Popen(whole, cwd=at, env=env, stdout=2 if quiet else None, start_new_session=True) as process,
    ):
        told = False
        while process.poll() is None:
            if stopping() and not told:
                process.terminate()
                told = True
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(POLL)
    if process.returncode == Stopped.exit_code:
        raise Stopped(f"stopped while it made {words[1]} again")
    if process.returncode:
        ended = f"`{' '.join(words)}` ended with {process.returncode}; what it said stands above"
        mend = "mend that, and give the same command again"
        fault = FAULTS.get(process.returncode, EnvironmentFault)
        raise fault(Finding("REPRO-FAILED", "the run could not be made again", str(at), ended, mend))
