"""The run card: what run.json holds, so that the run can be made again from it alone.

    config, set, seed      the run as it is configured, the SET it was made with, its master seed
    competition            all of competition.yaml, defaults too
    data, folds, inputs    hashes: of the tables, of the fold table, of pictures, functions and columns of other models
    files                  digests of the user's own files that both name: code (`file.py:function`) and weights
    made, git, versions    when it began, and with what
    hardware               processor, cores and GPUs
    results                digests of what was submitted: OOF and test predictions, the CSV

Cards of older versions lack some of these; what is missing is said, and the rest is used.
"""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from competition import __version__, artifacts, config, engine, git
from competition.keys import Competition
from competition.versions import of

PACKAGES = (
    "torch", "torchvision", "timm", "albumentations", "opencv-python-headless", "pillow", "scikit-learn", "scipy", "pandas",
    "numpy", "pyarrow", "lightgbm", "xgboost-cpu", "catboost", "tabm", "skops",
)  # fmt: skip
LATER = {
    "competition": "the competition's configuration (today's is taken)",
    "files": "digests of your own files (they are taken as they are)",
    "results": "digests of what came out (the files of the run folder are taken as they are)",
}  # keys that older cards lack
CODE = re.compile(r"[^:\s]+\.py:\w+")
WEIGHTS = "pretrained"
PROCESSOR = Path("/proc/cpuinfo")


def path_of(run: str) -> Path:
    return artifacts.run_folder(run) / "run.json"


def of_competition(competition: Competition) -> dict[str, Any]:
    """competition.yaml as plain values that can be read again: where `read:` returns the tables, nothing names them."""
    values = competition.model_dump(mode="json")
    return {k: v for k, v in values.items() if competition.read is None or k not in ("train", "test", "sample")}


def of_run(record: Mapping[str, Any]) -> dict[str, Any]:
    """The run's configuration as values of a file: of a preset without the keys that its models choose for themselves."""
    values = dict(record["config"])
    chosen = getattr(config.task_class(values["task"]), "chosen", ()) if values.get("preset") is not None else ()
    return {key: value for key, value in values.items() if key not in chosen}


def files(
    competition: str, shared: Mapping[str, Any], own: Mapping[str, Any], before: Mapping[str, str]
) -> dict[str, str]:
    """Path -> digest of the user's own files. shared, own: plain values of the competition and of the run. before: as the
    card has them; what a run's own keys name stays as it was when its folds were fitted, another metric needs a new score
    only.
    """
    home = artifacts.competition_yaml(competition).parent
    return _digests(named(own, home)) | dict(before) | _digests(named(shared, home))


def _digests(paths: Sequence[Path]) -> dict[str, str]:
    return {path.as_posix(): artifacts.file_digest(path) for path in paths if path.is_file()}


def named(values: Mapping[str, Any], home: Path) -> list[Path]:
    """The files that plain values name: code, as seen from `home`, the folder of competition.yaml; and weights."""
    found = []
    for key, text in _texts(values):
        if CODE.fullmatch(text):
            found.append(Path(os.path.normpath(home / text.partition(":")[0])))
        elif key == WEIGHTS and not text.startswith("run:"):
            found.append(Path(text).expanduser())
    return list(dict.fromkeys(found))


def _texts(values: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Key and text of every text in nested values."""
    if isinstance(values, str):
        yield key, values
    elif isinstance(values, Mapping):
        for name, below in values.items():
            yield from _texts(below, name)
    elif isinstance(values, (list, tuple)):
        for below in values:
            yield from _texts(below, key)


def surroundings() -> dict[str, Any]:
    """What a result is made with."""
    versions = {"podium": __version__, "python": platform.python_version()} | {p: of(p) for p in PACKAGES}
    return {"made": artifacts.now(), "git": git.sha(), "versions": versions, "hardware": hardware()}


def hardware() -> dict[str, Any]:
    return {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "cpu": _processor(),
        "gpus": engine.gpus(),
    }


def _processor() -> str:
    """Its name as sold: sums come out otherwise on one with wider registers."""
    lines = PROCESSOR.read_text().splitlines() if PROCESSOR.exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def keep_results(run: str, csv: Path) -> None:
    """Into the run's card, what it came to."""
    folder, record = artifacts.run_folder(run), artifacts.read_json(path_of(run))
    tables = {
        part: artifacts.table_digest(artifacts.read_table(folder / f"{part}.parquet")) for part in ("oof", "test")
    }
    results = tables | {"csv": artifacts.file_digest(csv)}
    if record.get("results") != results:
        artifacts.write_json(path_of(run), record | {"results": results})


def forget_results(run: str) -> None:
    """From the run's card, for it is predicted anew."""
    record = artifacts.read_json(path_of(run))
    if record.pop("results", None):
        artifacts.write_json(path_of(run), record)


def stamp(record: Mapping[str, Any]) -> str:
    """A digest of what the run is and when it began: of another one what was found of it tells nothing."""
    return artifacts.digest(
        json.dumps([record.get(key) for key in ("config", "data", "folds", "made")], sort_keys=True)
    )


def differences(there: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """What it was made with that is another now, of what both know. there: a card; now: `surroundings`, or another card."""
    parts = {"git": (there.get("git"), now.get("git"))}
    for group in ("versions", "hardware"):
        old, new = there.get(group, {}), now.get(group, {})
        parts |= {name: (old[name], new[name]) for name in old if name in new}
    told = {name: f"{_shown(old)} there, {_shown(new)} now" for name, (old, new) in parts.items() if old != new}
    if "git" not in told and str(there.get("git")).endswith("+"):
        told["git"] = f"{there['git']} there and now: + stands for changes that no commit holds, so the code may differ"
    return told


def _shown(value: Any) -> str:
    return "none" if value in (None, []) else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
