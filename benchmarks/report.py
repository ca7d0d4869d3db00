"""What `make report` takes for a competition with many runs: seconds, memory, and megabytes of the page.

python -m benchmarks.report [--runs 50] [--folds 5] [--rows 20000] [--classes 10] [--folder /tmp/many]
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.many_runs import NAME, many_runs


def measure(folder: Path, names: str) -> None:
    """Of the runs that are there, of which `names` are shown in detail; none: those that the page chooses."""
    command = [sys.executable, "-m", "competition", "report", NAME, *(["--runs", names] if names else [])]
    began = time.monotonic()
    subprocess.run(
        command, cwd=folder, check=True, env=os.environ | {"PYTHONPATH": os.getcwd()}, stdout=subprocess.DEVNULL
    )
    seconds = time.monotonic() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    size = (folder / "runs" / NAME / "report.html").stat().st_size
    print(f"{(names and 'all') or 'chosen'} runs in detail: {seconds:.1f} s ({used.ru_utime + used.ru_stime:.1f} s of CPU "
          f"and {used.ru_maxrss / 1e6:.2f} GB at most, so far), {size / 1e6:.2f} MB")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option, default in (("--runs", 50), ("--folds", 5), ("--rows", 20_000), ("--classes", 10)):
        parser.add_argument(option, type=int, default=default)
    parser.add_argument("--folder", type=Path, default=None, help="where such runs are, or are to be")
    options = vars(parser.parse_args())
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.pop("folder") or Path(temporary)
        if not (folder / "runs" / NAME).exists():
            many_runs(folder, **options)
        measure(folder, "")
        measure(folder, " ".join(sorted(path.parent.name for path in (folder / "runs" / NAME).glob("*/score.json"))))


if __name__ == "__main__":
    main()
