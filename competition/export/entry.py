"""Predicts the test rows of a competition without a network, with what lies beside this file; README.md says how.

    python predict.py --data /kaggle/input/<competition> --out submission.csv [--time 8h45m]

Every file is held against manifest.json first. Wheels that the notebook lacks are unpacked into a temporary folder.
"""

import atexit
import hashlib
import json
import shutil
import sys
import tempfile
import time
import zipfile
from pathlib import Path

BEGAN = time.monotonic()
HERE = Path(__file__).resolve().parent
DAMAGED = 4  # exit code of what is wrong with the machine or its files


def wrong(folder: Path) -> list[str]:
    """The files of the manifest that are missing or not what was exported."""
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        return ["manifest.json is missing"]
    try:
        files = json.loads(manifest.read_bytes())["files"]
    except (ValueError, KeyError):
        return ["manifest.json is not what was exported"]
    return [f"{name} {why}" for name, told in files.items() if (why := _unlike(folder / name, told))]


def _unlike(path: Path, told: dict) -> str:
    if not path.is_file():
        return "is missing"
    if path.stat().st_size != told["bytes"]:
        return f"has {path.stat().st_size:,} bytes, not {told['bytes']:,}"
    with open(path, "rb") as f:
        return "" if hashlib.file_digest(f, "sha256").hexdigest() == told["sha256"] else "is not what was exported"


def unpack(wheels: list[Path]) -> list[str]:
    """Folders for sys.path with what the wheels hold."""
    if not wheels:
        return []
    into = tempfile.mkdtemp(prefix="wheels-")
    atexit.register(shutil.rmtree, into, ignore_errors=True)
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as packed:
            for name in packed.namelist():
                packed.extract(name, into)  # never outside of it
    return [into]


if __name__ == "__main__":
    problems = wrong(HERE)
    if problems:
        more = f"; ... ({len(problems)} in all)" if len(problems) > 3 else ""
        print(
            f"error CKPT-CORRUPT: the bundle is not what was exported: {'; '.join(problems[:3])}{more}; upload it again"
        )
        sys.exit(DAMAGED)
    sys.dont_write_bytecode = True
    sys.path[:0] = [*unpack(sorted((HERE / "wheels").glob("*.whl"))), str(HERE)]
    from competition.export.predicting import main

    sys.exit(main(sys.argv[1:], HERE, BEGAN))
