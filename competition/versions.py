"""Which versions made what is on the disk, and one message where others can't read it.

Weights and checkpoints are numbers under names that a library chose. Another version of it mostly chooses the same, and
then they load; its sums may be added in another order, so bits may differ. Where it chose others, both are named.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from competition import __version__, artifacts
from competition.errors import EnvironmentFault, Fault, Finding, Stopped

TRAINED_BY = ("torch", "timm", "numpy", "opencv-python-headless", "albumentations")  # that a trained network depends on
LIBRARIES = (
    "lightgbm",
    "xgboost-cpu",
    "catboost",
    "tabm",
    "torch",
    "scikit-learn",
    "skops",
)  # that a tabular model may
MEND = "take those versions, or delete the folder of that fold and give the same command again: it is trained anew"
NOTE = "versions"  # of a weights file, JSON
Versions = dict[str, str]


def of(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def now(packages: tuple[str, ...] = TRAINED_BY) -> Versions:
    """Those that this process has, Podium's first."""
    return {"podium": __version__} | {name: found for name in packages if (found := of(name))}


def of_run(folder: Path) -> Versions:
    """Those that a run began with, by its card; none where it has no card."""
    path = folder / "run.json"
    card = artifacts.read_json(path) if path.exists() else {}
    return {name: text for name, text in card.get("versions", {}).items() if text}


def differences(there: Mapping[str, str], here: Mapping[str, str]) -> str:
    """`podium 0.1.0 there, 0.2.0 now; ...`: what both know and is another; empty where nothing is."""
    return "; ".join(f"{name} {there[name]} there, {new} now" for name, new in here.items()
                     if there.get(name, new) != new)  # fmt: skip


@contextmanager
def reading(path: Path, there: Mapping[str, str], mend: str, packages: tuple[str, ...] = TRAINED_BY) -> Generator[None]:
    """Whatever a library raises within becomes CKPT-MISMATCH, which names the versions that wrote `path` and these.

    there: as of `of_run` or of the file itself.
    """
    try:
        yield
    except (Fault, Stopped, MemoryError):
        raise
    except Exception as e:
        told = differences(there, now(packages)) or f"the same versions: {spoken(now(packages))}"
        raise EnvironmentFault(
            Finding(
                code="CKPT-MISMATCH",
                what="a trained model can't be read as this version would have written it",
                where=str(path),
                found=f"{told}; {type(e).__name__}: {' '.join(str(e).split())[:200]}",
                risk="half of its weights would be new ones; nothing was changed",
                mend=mend,
            )
        ) from e


def spoken(some: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {text}" for name, text in some.items())


def note() -> str:
    return json.dumps(now())


def noted(notes: Mapping[str, str]) -> Versions:
    """Those that the notes of a weights file tell; an older file tells none."""
    return json.loads(notes.get(NOTE, "{}"))
