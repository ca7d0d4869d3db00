"""`make bench-check [DATA=<folder>]`: what `make check` takes for pictures, and which seeded near copies it finds.

With a folder, copies of 1% of its pictures are made, half of them encoded anew and scaled by 0.5 to 1.3, half cropped by up
to 15% a side, every second one brighter or darker; without, pictures are drawn: colours that flow, with random shapes.

    python -m benchmarks.check [--data data/leaves/images] [--pictures 100000] [--side 48] [--share 0.01]
"""

from __future__ import annotations

import argparse
import functools
import resource
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console

from competition import board
from competition.check import copies, facts
from competition.check.pictures import FORMS
from competition.decoding import PLAIN


def drawn(n: int, side: int) -> np.ndarray:
    """[side, side, 3] picture number n."""
    rng = np.random.default_rng(n)
    picture = cv2.resize(rng.integers(0, 256, (5, 5, 3)).astype(np.uint8), (side, side), interpolation=cv2.INTER_CUBIC)
    for _ in range(12):
        at, extent = rng.integers(0, side, 2), rng.integers(1, side // 3, 2)
        axes, colour = tuple(map(int, extent)), tuple(map(int, rng.integers(0, 256, 3)))
        cv2.ellipse(picture, tuple(map(int, at)), axes, float(rng.integers(180)), 0, 360, colour, -1, cv2.LINE_AA)
    return picture


def copied(picture: np.ndarray, n: int) -> np.ndarray:
    """Of even n scaled, of odd n cropped; of n % 4 > 1 with another brightness and contrast."""
    rng = np.random.default_rng([1, n])
    height, width = picture.shape[:2]
    if n % 2:
        top, bottom, left, right = rng.uniform(0, 0.15, 4)
        picture = picture[
            int(top * height) : height - int(bottom * height), int(left * width) : width - int(right * width)
        ]
    else:
        factor = rng.uniform(0.7 if min(height, width) < 64 else 0.5, 1.3)
        picture = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    if n % 4 > 1:
        picture = np.clip(picture * rng.uniform(0.85, 1.15) + rng.uniform(-15, 15), 0, 255).astype(np.uint8)
    return picture


def made(
    folder: Path, sources: list[Path] | None, count: int, side: int, share: float
) -> tuple[list[str], dict[str, str]]:
    """Paths of all pictures, and of each copy the one that it is of."""
    if sources is None:
        sources = [folder / f"{n:06d}.jpg" for n in range(count)]
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda n: cv2.imwrite(str(sources[n]), drawn(n, side)), range(count)))
    chosen = np.random.default_rng(0).choice(len(sources), int(share * len(sources)), replace=False)
    origin = {}
    for n, at in enumerate(chosen):
        path = folder / f"copy{n:06d}{'-cropped' * (n % 2)}.jpg"
        quality = int(np.random.default_rng([2, n]).integers(50, 95))
        cv2.imwrite(str(path), copied(cv2.imread(str(sources[at])), n), [cv2.IMWRITE_JPEG_QUALITY, quality])
        origin[str(path)] = str(sources[at])
    return sorted([*map(str, sources), *origin]), origin


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, default=None)
    for name, default in (("pictures", 10_000), ("side", 48), ("share", 0.01)):
        options.add_argument(f"--{name}", type=type(default), default=default)
    given, console = options.parse_args(), Console()
    sources = given.data and sorted(p for p in given.data.rglob("*") if p.suffix.lower() in FORMS)
    with tempfile.TemporaryDirectory() as temporary, board.board():
        folder = Path(temporary)
        paths, origin = made(folder, sources, given.pictures, given.side, given.share)
        before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
        known = facts.read(paths, folder / "facts", functools.partial(board.show, "pictures"), PLAIN)
        read = time.perf_counter()
        pairs = copies.find(known, functools.partial(board.show, "copies"))
        ended = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ends = list(zip(pairs["first"], pairs["second"], strict=True))
    met = {frozenset(pair) for pair in ends}
    found = {path for path, source in origin.items() if frozenset((path, source)) in met}
    others = [pair for pair in ends if origin.get(pair[0], pair[0]) != origin.get(pair[1], pair[1])]
    console.print(f"{len(paths):,} pictures read in {read - began:.0f} s ({len(paths) / (read - began):.0f}/s), "
                  f"copies found in {ended - read:.0f} s ({len(paths) / (ended - read):.0f}/s)")  # fmt: skip
    console.print(f"peak memory {peak / 1000:.0f} MB, {before / 1000:.0f} MB of it before the first picture was read")
    for kind, some in (("scaled", [p for p in origin if "-" not in p]), ("cropped", [p for p in origin if "-" in p])):
        console.print(f"copies {kind}: {len(found & set(some))} of {len(some)} found")
    console.print(
        f"{len(others)} other pairs, {len({p for pair in others for p in pair})} pictures of them: {others[:10]}"
    )


if __name__ == "__main__":
    main()
