"""What a notebook's image has, and wheels of the rest, packed from what is installed here: what the run was made with.

Only packages of pure Python are packed: they are the same for every Python and system, and take no registry.
"""

from __future__ import annotations

import importlib.metadata
import re
import zipfile
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError
from pathlib import Path

from competition import disk
from competition.errors import EnvironmentFault, Finding

# Kaggle's image has these (kaggle_requirements.txt of its repository and the pip list of the image it is built on); here
# some have another distribution's name.
IMAGE = ("torch", "torchvision", "timm", "numpy", "pandas", "opencv-python-headless", "pillow", "scikit-learn", "scipy",
         "lightgbm", "xgboost-cpu", "catboost", "pyarrow", "safetensors", "pydantic", "pyyaml", "rich", "filelock",
         "pydicom", "transformers", "prettytable")  # fmt: skip
NEEDS = {".skops": "skops"}  # suffix of a model's file -> what reads it, beside the image
MODELS = {"tabm": "tabm"}  # model of a table -> the same


def needed(files: Iterable[Path], models: Iterable[str]) -> list[str]:
    """The distributions that these models want and the image lacks."""
    wanted = {NEEDS[file.suffix] for file in files if file.suffix in NEEDS} | {MODELS[m] for m in models if m in MODELS}
    return sorted(closure(wanted) - closure(IMAGE))


def closure(names: Iterable[str]) -> set[str]:
    """The distributions that are installed here, and all that they require."""
    found: set[str] = set()
    waiting = list(map(_plain, names))
    while waiting:
        name = waiting.pop()
        there = _installed(name)
        if name in found or there is None:
            continue
        found.add(name)
        waiting += [_plain(re.split(r"[^\w.-]", text)[0]) for text in there.requires or () if "extra ==" not in text]
    return found


def pack(name: str, folder: Path) -> Path:
    """`<name>-<version>-py3-none-any.whl` of an installed distribution. Raises EnvironmentFault EXP-WHEEL."""
    there = importlib.metadata.distribution(name)
    if "Root-Is-Purelib: true" not in (there.read_text("WHEEL") or ""):
        what, found = (
            "a package that the notebook lacks can't be packed",
            f"{name} {there.version} is not of Python alone",
        )
        mend = f"put its wheel for the notebook's Python into the folder wheels/ (pip download {name}=={there.version})"
        raise EnvironmentFault(Finding("EXP-WHEEL", what, name, found, mend))
    path = folder / f"{name.replace('-', '_')}-{there.version}-py3-none-any.whl"
    with disk.writing(path) as f, zipfile.ZipFile(f, "w", zipfile.ZIP_DEFLATED) as packed:
        for file in files_of(there):
            packed.writestr(zipfile.ZipInfo(file), Path(str(there.locate_file(file))).read_bytes())
    return path


def files_of(there: Distribution) -> Iterator[str]:
    """Its files below site-packages, sorted, but for compiled Python and scripts."""
    for file in sorted(map(str, there.files or ())):
        if not file.startswith("..") and "__pycache__" not in file and not Path(file).is_absolute():
            yield file


def tops(names: Iterable[str]) -> dict[str, Path]:
    """Name -> path of all that these distributions have right below site-packages."""
    found = {}
    for there in filter(None, map(_installed, names)):
        for top in {file.split("/")[0] for file in files_of(there)} - {"__editable__"}:
            if not top.endswith(".pth"):
                found[top] = Path(str(there.locate_file(top)))
    return found


def _installed(name: str) -> Distribution | None:
    try:
        return importlib.metadata.distribution(name)
    except PackageNotFoundError:
        return None


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
