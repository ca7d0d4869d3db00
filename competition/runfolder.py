"""What a run's folder holds, read as far as it can be: its configuration, its score and how its folds were fitted.

Nothing here is fitted, opened for writing or taken on trust: a folder may be half-written, of an older version or damaged.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from competition import artifacts

FOLD = re.compile(r"fold(\d+|all)(-repeat\d+)?(?:-seed(\d+))?")
RECORDED = ("run", "config", "set", "data", "folds", "seed", "made", "versions", "hardware")  # of run.json
KINDS = dict.fromkeys(("set", "data", "folds", "made"), str) | {"git": str | None} | dict.fromkeys(
    ("versions", "hardware", "competition", "files", "results"), dict)  # fmt: skip
SCORED = (
    "metric", "greater_is_better", "score", "std", "folds", "in_sample", "mean", "rows", "parts", "methods", "decision",
    "weights_by_fold", "adjustment", "adjustments_by_fold", "basis", "made",
)  # of score.json  # fmt: skip


@dataclass(frozen=True)
class Folder:
    """record, scored: run.json and score.json, empty where they are not there or can't be read. fits: fit.json by fold, of
    what counts for the run: the seeds and refits that it has by now. damaged, older: what is wrong and how to mend it.
    """

    name: str
    record: Mapping[str, Any]
    scored: Mapping[str, Any]
    fits: Mapping[str, Mapping[str, Any]]
    damaged: str = ""
    older: str = ""

    @property
    def config(self) -> Mapping[str, Any]:
        return self.record.get("config", {})

    @property
    def whole(self) -> bool:
        """Whether it has a score that can be read."""
        return bool(self.scored) and not self.damaged and not self.older

    @property
    def task(self) -> str:
        return task_of(self.config)

    @property
    def seeds(self) -> int:
        return _whole(self.config.get("seeds")) or 1

    @property
    def members(self) -> list[str]:
        return members(self.record, self.scored)

    @property
    def std(self) -> float | None:
        """None where fewer than two folds have a score."""
        return float(self.scored["std"]) if is_number(self.scored["std"]) else None

    @property
    def score_made(self) -> datetime:
        return datetime.fromisoformat(self.scored["made"])

    @property
    def changed(self) -> list[datetime]:
        """When its folds were fitted and its score was made."""
        made = _time(self.scored.get("made"))
        return self.fitted + ([made] if made else [])

    @property
    def fitted(self) -> list[datetime]:
        """When its folds were."""
        return [made for fit in self.fits.values() if (made := _time(fit.get("finished"))) is not None]

    @property
    def seconds(self) -> float | None:
        """That its own folds were fitted for; None where nothing was, as in an imported run."""
        known = [float(fit["seconds"]) for fit in self.fits.values() if is_number(fit.get("seconds"))]
        return math.fsum(known) if known else None

    @property
    def parameters(self) -> int | None:
        """Of one fold's models."""
        fit = next(iter(self.fits.values()), {})
        nets = [_whole(output.get("parameters")) for output in _outputs(fit)]
        return _whole(fit.get("parameters")) or sum(filter(None, nets)) or None

    @property
    def epochs(self) -> int | None:
        """As configured, or the longest of the nets that chose for themselves."""
        fit = next(iter(self.fits.values()), {})
        chosen = [_whole(output.get("epochs")) or 0 for output in _outputs(fit)]
        return _whole(self.config.get("epochs")) or max(chosen, default=0) or None


def names(competition: str) -> list[str]:
    """The folders that are of runs, sorted; those of trials and hidden ones are not."""
    folders = artifacts.RUNS.glob(f"{competition}/*/")
    return sorted(f"{competition}/{path.name}" for path in folders if path.name[0] != "." and "~" not in path.name)


def read(name: str) -> Folder:
    """Never raises for what it holds: `damaged` and `older` tell."""
    folder = artifacts.run_folder(name)
    record = _json(folder / "run.json")
    if not isinstance(record, dict):
        mend = f"bring it back from a copy, or delete {folder} and train the run anew"
        return Folder(name, {}, {}, {}, damaged=f"{record or 'there is no run.json'}; {mend}")
    lacking = [key for key in RECORDED if key not in record]
    if lacking or not isinstance(record["config"], dict):
        mend = f"delete {folder} and train the run anew"
        known = record | {"config": {}}
        return Folder(name, known, {}, {}, older=f"run.json lacks {', '.join(lacking) or 'a config'}; {mend}")
    wrong = [key for key, kind in KINDS.items() if key in record and not isinstance(record[key], kind)]
    if wrong:
        mend = f"bring it back from a copy, or delete {folder} and train the run anew"
        return Folder(name, {}, {}, {}, damaged=f"run.json has a {wrong[0]} that Podium never writes; {mend}")
    fitted = [one for fold in fold_folders(folder, record["config"]) if (one := fold / "fit.json").exists()]
    found = {path.parent.name: _json(path) for path in fitted}
    fits = {fold: fit for fold, fit in found.items() if isinstance(fit, dict)}
    scored = _json(folder / "score.json") or {}
    whole = {} if isinstance(scored, str) else scored
    broken = next(_broken(name, record, scored, {fold: fit for fold, fit in found.items() if isinstance(fit, str)}), "")
    return Folder(name, record, whole, fits, broken, "" if broken else _older(name, whole))


def task_of(config: Mapping[str, Any]) -> str:
    """As the configuration names it; blend or preset where the run has members."""
    if "members" in config:
        return "blend"
    return "preset" if config.get("preset") else str(config.get("task", ""))


def members(record: Mapping[str, Any], scored: Mapping[str, Any]) -> list[str]:
    """The runs that a blend, a preset or a soup is made of."""
    config = record.get("config", {})
    inside = scored.get("parts") if task_of(config) in ("blend", "preset") else None
    given = [some for some in (inside, config.get("members"), config.get("of")) if isinstance(some, list | dict)]
    return [*dict.fromkeys(name for some in given for name in some if isinstance(name, str))]


def fold_folders(folder: Path, config: Mapping[str, Any]) -> Iterator[Path]:
    """Those of the folds that count for the run: the seeds and refits that it had before may have left more."""
    seeds, refit = _whole(config.get("seeds")) or 1, config.get("refit")
    for path in sorted(folder.glob("fold*/")):
        fold = FOLD.fullmatch(path.name)
        if fold and int(fold[3] or 0) < seeds and (fold[1] != "all" or refit):
            yield path


def inputs(names: Iterable[str]) -> str:
    """Hash of what a blend of these runs is made from, their predictions; empty where some are gone."""
    files = [artifacts.run_folder(name) / f"{part}.parquet" for name in names for part in ("oof", "test")]
    return artifacts.digest(*map(artifacts.file_digest, files)) if all(file.is_file() for file in files) else ""


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _json(path: Path) -> dict[str, Any] | str | None:
    """A JSON object, or why there is none; None where there is no such file."""
    try:
        value = artifacts.parse_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as e:
        return f"{path.name} can't be read ({str(e).splitlines()[0][:80]})"
    return value if isinstance(value, dict) else f"{path.name} can't be read (it holds no object)"


def _broken(name: str, record: Mapping[str, Any], scored: Any, fits: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with it and how to mend it."""
    folder = artifacts.run_folder(name)
    anew = f"delete {folder / 'score.json'}, then make predict RUN={name}"
    if record["run"] != name:
        yield f"its run.json is of {record['run']}, whose copy it is; delete {folder}"
    for fold, why in fits.items():
        yield f"{fold}/{why}; delete {folder / fold}, then make submission RUN={name} trains it anew"
    if isinstance(scored, str):
        yield f"{scored}; {anew}"
    elif scored and not (folder / "oof.parquet").is_file():
        yield f"oof.parquet is missing; {anew}"
    elif all(key in scored for key in SCORED):
        wrong = next(_no_score(scored), "")
        if wrong:
            yield f"score.json {wrong}; {anew}"


def _no_score(scored: Mapping[str, Any]) -> Iterator[str]:
    folds = scored["folds"]
    if not is_number(scored["score"]):
        yield f"has no score ({scored['score']!r:.40})"
    if not isinstance(folds, dict) or not all(value is None or is_number(value) for value in folds.values()):
        yield "has no scores of folds"
    kinds = {
        "std": float | int | None,
        "greater_is_better": bool,
        "parts": dict,
        "adjustments_by_fold": dict,
        "metric": str,
    }
    for key in (key for key, kind in kinds.items() if not isinstance(scored[key], kind)):
        yield f"has a {key} that Podium never writes"
    if _time(scored["made"]) is None:
        yield "does not tell when it was made"


def _older(name: str, scored: Mapping[str, Any]) -> str:
    lacking = [key for key in SCORED if key not in scored]
    if not scored or not lacking:
        return ""
    path = artifacts.run_folder(name) / "score.json"
    return f"score.json lacks {', '.join(lacking)}; delete {path}, then make predict RUN={name}"


def _outputs(fit: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The records of a tabular fold's models, of all parts of its bag."""
    parts = fit.get("bag")
    models = [part.get("outputs") for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
    return [one for some in models if isinstance(some, list) for one in some if isinstance(one, dict)]


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and is_number(value) else None


def _time(text: object) -> datetime | None:
    try:
        made = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return made if made and made.tzinfo else None
