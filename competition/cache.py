"""Decoded pictures: decoded once, kept as one uint8 memory map that all folds, views and runs of a competition read.

Reading a 256 px picture from the map is about 50 times the rate of decoding its JPEG (28,000 against 500 a second and
core, measured). Tasks keep the pictures larger than the network sees them, so that crops and scales have room. Where the
disk has no room (`cache: none`) they are decoded each time they are read, to the same bytes.

    runs/.cache/<competition>/<fit>-<side>/pictures.npy   [n, side, side, 3] uint8, RGB
                                           index.parquet  path -> row, size, times, digest of the file
                                           built.json     by which decoder, and the pictures' checksum; written last

The folder is `<fit>-<height>x<width>` where that is no square, and ends in Reading.mark: `-stored` where EXIF notes are
passed over, `-scale` where deep pictures are scaled to 8 bits. It may be deleted at any time.
"""

from __future__ import annotations

import errno
import io
import math
import os
import shutil
import zlib
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from competition import artifacts, board, disk, locks
from competition.badpictures import refuse
from competition.decoding import DECODER, PLAIN, BadPicture, Reading, plain, read, unreadable
from competition.engine import cores
from competition.errors import DataFault, EnvironmentFault, Finding
from competition.prefetch import ahead
from competition.shaped import Fit, How, Shape
from competition.task import Progress

_held: dict[Path, Cache] = {}  # by the folder where they would lie
LOOKED_OVER = 2e9  # bytes that are read at each start, at 1.8 GB a second; of a larger file where its stamp differs


@dataclass(frozen=True)
class Decoded:
    """Pictures that are decoded when they are read, indexed as the memory map is. digests: of the files' contents."""

    paths: Sequence[str]
    digests: Sequence[str]
    how: How

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.paths), *self.how.shape, 3)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, at: Any) -> np.ndarray:
        first, *rest = at if isinstance(at, tuple) else (at,)
        some = np.arange(len(self))[first]
        if some.ndim == 0:
            return self._one(some)[tuple(rest)]
        with ThreadPoolExecutor(cores()) as pool:
            pictures = [*pool.map(self._one, some)]
        return np.array(pictures, np.uint8).reshape(len(some), *self.shape[1:])[(slice(None), *rest)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or np.uint8, copy=False)

    def _one(self, n: int) -> np.ndarray:
        """Raises DataFault where the file is another by now, or can't be read."""
        path = self.paths[n]
        try:
            data = read(path)
            if artifacts.digest(data) == self.digests[n]:
                return self.how(data)
        except BadPicture as e:
            refuse([(path, e)])
        what, found = "a picture changes while the run reads it", "its content is another than when the command began"
        mend = "restore the file, then give the same command again"
        raise DataFault(Finding("RUN-DATA", what, path, found, mend, "folds would learn from different pictures"))


@dataclass(frozen=True)
class Cache:
    """pictures: [n, height, width, 3] uint8, RGB, read-only. row: path -> n. digest: of files' contents."""

    pictures: np.ndarray | Decoded
    row: pd.Series
    digest: str

    def rows(self, paths: pd.Series) -> np.ndarray:
        return self.row.loc[paths].to_numpy()

    def paths(self, rows: np.ndarray) -> list[str]:
        """Of some of its rows."""
        return self.row.index[self.row.isin(rows)].tolist()


def folder_of(competition: str, fit_to: Fit, shape: Shape, reading: Reading = PLAIN) -> Path:
    """Where pictures of this shape lie."""
    height, width = shape
    extent = f"{height}" if height == width else f"{height}x{width}"
    return artifacts.cache_folder(competition) / f"{fit_to}-{extent}{reading.mark}"


def load(folder: Path, paths: Sequence[str] | None = None) -> Cache:
    """paths: those whose digest is wanted; None: all that are there."""
    if folder in _held:
        return _held[folder]
    built = artifacts.read_json(folder / "built.json")
    index = artifacts.read_table(folder / "index.parquet")
    digest = artifacts.digest(*index["digest"].sort_index().loc[paths or slice(None)])
    if built["pictures"] is None:
        return Cache(Decoded([*index.index], [*index["digest"]], How.of(built["how"])), index["row"], digest)
    pictures = _mapped(folder / "pictures.npy")
    assert len(pictures) == len(index), f"{folder} is of two builds"
    return Cache(pictures, index["row"], digest)


@contextmanager
def held(pictures: Mapping[Path, Cache]) -> Generator[None]:
    """Within, `load` gives these for their folders, where nothing lies: pictures that are looked at once and let go."""
    _held.update(pictures)
    try:
        yield
    finally:
        for folder in pictures:
            del _held[folder]


def _mapped(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r")
    except (OSError, ValueError) as e:  # cut short, or with objects, which only a pickle could hold
        raise EnvironmentFault(artifacts.corrupt(path, str(e))) from None


def build(
    paths: Sequence[str],
    folder: Path,
    fit_to: Fit,
    shape: Shape,
    progress: Progress,
    reading: Reading = PLAIN,
    on_disk: bool = True,
) -> Cache:
    """Decodes what is not there yet and returns the cache; says so where one was there. A picture counts as changed when its
    content has.

    A cache that holds more pictures than are asked for is left as it is, and one that lies on the disk already is used.

    shape: height and width of the pictures that are kept. reading: as of `decode`; `folder` should tell. on_disk: whether
    they are kept, or looked at now and decoded again whenever they are read.

    Raises DataFault with every unreadable picture, by kind; EnvironmentFault where the disk has no room.
    """
    paths, how = sorted(set(paths)), How(fit_to, shape, reading)
    with locks.locked(folder, wait=-1):
        files = pd.DataFrame(_stat_all(paths), index=pd.Index(paths, name="path"))
        why = _anew(folder, files, on_disk)
        if why is not None:
            if why:
                board.say(f"{folder}: {why}; the pictures are decoded anew")
            _decode_all(files, folder, how, progress, on_disk)
        return load(folder, paths)


def _anew(folder: Path, files: pd.DataFrame, on_disk: bool) -> str | None:
    """Why the pictures are to be decoded, "" where none are there yet; None where all that is asked for is there."""
    if not (folder / "index.parquet").exists():
        return ""
    try:
        built = artifacts.read_json(folder / "built.json")
        known = artifacts.read_table(folder / "index.parquet")
        if built["decoder"] != DECODER:
            return f"decoded by {built['decoder']}, and this is {DECODER}"
        if built["pictures"] is None and on_disk:
            return "cache: none left no pictures there"
        stamp = built["pictures"] and _looked_over(folder / "pictures.npy", **built["pictures"])
    except EnvironmentFault as fault:
        told = fault.findings[0]
        return f"{told.code}: {told.where}: {told.found}"
    why = _changed(folder, files, known)
    if why is None and stamp and stamp != built["pictures"]["stamp"]:  # it was copied or restored
        artifacts.write_json(folder / "built.json", built | {"pictures": built["pictures"] | {"stamp": stamp}})
    return why


def _changed(folder: Path, files: pd.DataFrame, known: pd.DataFrame) -> str | None:
    """Which pictures are others than the cache has; those that were but touched are noted as they are now."""
    new = files.index.difference(known.index)
    if len(new):
        return f"{len(new)} of {len(files)} pictures are not among the {len(known)} of the cache"
    there = known.loc[files.index, [*files]]
    touched = there.index[(there != files).any(axis=1)]
    others = [p for p in touched if artifacts.digest(read(p)) != known.loc[p, "digest"]]
    if others:
        return f"{len(others)} of {len(files)} pictures have changed"
    if len(touched):
        known.loc[files.index, [*files]] = files
        artifacts.write_table(folder / "index.parquet", known)
    return None


def _looked_over(path: Path, crc32: int, stamp: list[int]) -> list[int]:
    """Its stamp now. Raises EnvironmentFault CKPT-CORRUPT where the pictures are not what was written."""
    now = _stamp(path) if path.is_file() else []
    if now != stamp or now[0] <= LOOKED_OVER:
        found = _checksum(path) if now else None
        if found != crc32:
            raise EnvironmentFault(artifacts.corrupt(path, f"checksum {found}, expected {crc32}"))
    return now


def _checksum(path: Path) -> int:
    """CRC-32, four times as fast as a cryptographic one: it is a disk that is doubted, nobody else."""
    crc = 0
    with open(path, "rb") as f:
        while part := f.read(1 << 24):
            crc = zlib.crc32(part, crc)
    return crc


def _stamp(path: Path) -> list[int]:
    """Other wherever the file was written, copied or restored."""
    s = path.stat()
    return [s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino]


def _stat_all(paths: list[str]) -> list[dict[str, int]]:
    """Size and times of every file: of its content, and of anything about it, which no copying program sets back.

    Raises DataFault where some are missing or no plain files.
    """
    found, bad = [], []
    for path in paths:
        try:
            s = plain(os.stat(path))
        except OSError as e:
            bad.append((path, unreadable(path, e)))
        except BadPicture as e:
            bad.append((path, e))
        else:
            found.append({"size": s.st_size, "time": str(s.st_mtime_ns), "changed": str(s.st_ctime_ns)})
    refuse(bad)
    return found


def _decode_all(files: pd.DataFrame, folder: Path, how: How, progress: Progress, on_disk: bool) -> None:
    path, shape = folder / "pictures.npy", (len(files), *how.shape, 3)
    (folder / "built.json").unlink(missing_ok=True)  # never an old index beside new pictures
    if on_disk:
        _need_room(folder, path, math.prod(shape))
    path.unlink(missing_ok=True)
    paths, kept = [*files.index], None
    if on_disk:
        with disk.writing(path) as f:
            header = io.BytesIO()
            np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
            _reserve(f.fileno(), folder, len(header.getvalue()) + math.prod(shape))
            writer = Summed(f.write)
            writer(header.getvalue())
            digests = _each(paths, how, progress, writer)
        kept = {"crc32": writer.crc, "stamp": _stamp(path)}
    else:
        digests = _each(paths, how, progress, lambda picture: None)
    artifacts.write_table(folder / "index.parquet", files.assign(row=np.arange(len(paths)), digest=digests))
    artifacts.write_json(folder / "built.json", {"decoder": DECODER, "how": asdict(how), "pictures": kept})


class Summed:
    """Writes, and sums up what it has written."""

    def __init__(self, write: Callable[[Any], Any]):
        self.write, self.crc = write, 0

    def __call__(self, content: bytes | memoryview) -> None:
        self.crc = zlib.crc32(content, self.crc)
        self.write(content)


def _each(paths: list[str], how: How, progress: Progress, keep: Callable[[memoryview], None]) -> list[str]:
    """Has every picture kept, in order; digests of the files' contents. Raises DataFault with all that are bad."""
    bad: list[tuple[str, BadPicture]] = []
    digests: list[str] = []

    def one(path: str) -> tuple[str, np.ndarray | BadPicture]:
        try:
            data = read(path)
            return artifacts.digest(data), how(data)
        except BadPicture as e:
            return "", e

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, (digest, picture) in zip(paths, ahead(pool, one, paths, 256), strict=True):
            if isinstance(picture, BadPicture):
                bad.append((path, picture))
            elif not bad:
                keep(np.ascontiguousarray(picture).data)
            digests.append(digest)
            progress(len(digests), len(paths), "decoding pictures")
    refuse(bad)
    return digests


def _need_room(folder: Path, old: Path, size: int) -> None:
    """old: a file that gives its room away."""
    free = shutil.disk_usage(folder).free + (old.stat().st_blocks * 512 if old.exists() else 0)
    if size * 1.05 > free:
        raise EnvironmentFault(_no_room(folder, size, f"{free / 1e9:.3g} GB free"))


def _no_room(folder: Path, size: int, found: str) -> Finding:
    return Finding(
        code="ENV-DISK",
        what="the disk has no room for the decoded pictures",
        where=str(folder),
        found=f"{size / 1e9:.3g} GB needed, {found}",
        risk="nothing was written",
        mend='free some space; or SET="cache=none", which decodes pictures each time they are read (slower, same result); '
        "or train at a smaller `size`",
    )


def _reserve(file: int, folder: Path, size: int) -> None:
    """Blocks on the disk before hours of decoding. Raises EnvironmentFault ENV-DISK."""
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(file, 0, size)
    except OSError as e:
        if e.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise EnvironmentFault(_no_room(folder, size, str(e))) from None
        if e.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # a disk that can't reserve tells when it is full
            raise
