"""An environment of its own for each rival, made once by uv: they hold other versions of the same packages than we do.

Below `benchmarks/.environments` (not committed), or where --environments says. Files are links into uv's cache where both
lie on one disk, so most of the size is there once.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

HERE = Path(__file__).resolve().parent
PLACE = HERE.parent / ".environments"
RELEASES = "torch==2.15.0", "torchvision==0.29.2"


class Refused(Exception):
    """A rival that can't be run here; the message is the reason, in a line."""


@dataclass(frozen=True)
class Environment:
    """pins: what is installed. proof: Python that shows it works. size: on disk, roughly. shown: packages whose versions are
    told with the results."""

    pins: tuple[str, ...]
    proof: str
    size: str
    shown: tuple[str, ...]


ENVIRONMENTS = {
    "timm": Environment(
        pins=("timm==1.0.31", "pandas==3.1.1", *RELEASES),
        proof="import timm, pandas, torchvision",
        size="5.3 GB",
        shown=("torch",),
    ),
    "fastai": Environment(
        pins=("fastai==2.8.12", "timm==1.0.31", *RELEASES),
        proof="import timm, fastai.vision.all",
        size="5.4 GB",
        shown=("fastai", "timm", "torch"),
    ),
    "autogluon": Environment(
        pins=("autogluon.multimodal==1.6.3",),
        proof="from autogluon.multimodal import MultiModalPredictor",
        size="5.8 GB",
        shown=("autogluon.multimodal", "lightning", "timm", "torch"),
    ),
}


def python_of(name: str, place: Path, console: Console) -> Path:
    """The interpreter of a rival's environment, made where it is missing or holds other pins. Raises Refused."""
    environment, folder = ENVIRONMENTS[name], place / name
    python, done = folder / "bin" / "python", folder / "installed.txt"
    pins = "\n".join(environment.pins)
    if not (python.exists() and done.exists() and done.read_text() == pins):
        console.print(f"{name}: {', '.join(environment.pins)} into {folder}, once (about {environment.size})")
        uv = uv_command()
        checked([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)])
        checked([uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python), *environment.pins])
        done.write_text(pins)
    checked([str(python), "-c", environment.proof])
    return python


def uv_command() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if not found:
        raise Refused("there is no uv to make its environment with: make setup")
    return found


def versions(python: Path, packages: tuple[str, ...]) -> str:
    """Of what is installed beside an interpreter, as `torch 2.15.0, ...`."""
    code = "import sys, importlib.metadata as m; print(', '.join(f'{p} {m.version(p)}' for p in sys.argv[1:]))"
    return checked([str(python), "-c", code, *packages])


def checked(command: list[str]) -> str:
    """Runs it and returns what it said. Raises Refused with the last line that it said."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Refused(f"{Path(command[0]).name} {command[1]} ended with {done.returncode}: {last_line(done.stderr)}")
    return done.stdout.strip()


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no word"


def checkout(folder: Path | None) -> Path:
    """The folder of pytorch-image-models that holds train.py and inference.py. Raises Refused."""
    if folder is None:
        raise Refused("its train.py is in no package: name a checkout of pytorch-image-models by --timm (TIMM=)")
    missing = [name for name in ("train.py", "inference.py", "timm/version.py") if not (folder / name).is_file()]
    if missing:
        raise Refused(f"--timm {folder} has no {', '.join(missing)}")
    return folder.resolve()


def version_of(folder: Path) -> str:
    """timm's version in a checkout, as its file says."""
    return (folder / "timm" / "version.py").read_text().partition("=")[2].strip(" '\"\n")
