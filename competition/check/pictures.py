"""Notes on picture files: those that can't be used, forms that trainers and hosts trip over, sizes, names, files that no
table lists."""

from __future__ import annotations

import functools
import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from competition import artifacts, badpictures, dicom
from competition.badpictures import POLICY, PROBLEMS, RISK, by_kind
from competition.check.facts import Facts
from competition.check.notes import Note, about
from competition.data import Data
from competition.decoding import BadPicture

FORMS = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP",
    ".gif": "GIF", ".dcm": dicom.FORMAT, ".dicom": dicom.FORMAT,
}  # fmt: skip
TINY = 16  # pixels of the shorter side, where most pictures have more
LONG = 5.0  # longer side over shorter, from which on a square crop shows little of it
CLEAR = 0.002  # share of transparent pixels, from which on what lies below them counts
TILES = 8


def notes(data: Data, facts: Facts) -> Iterator[Note]:
    names = _shown(facts.table.index, data)
    yield from _unusable(facts, names)
    whole = facts.whole
    yield from _forms(whole, names)
    yield from _sizes(whole, names)
    yield from _names(facts.table.index, data, names)
    yield from _unlisted(data)


def _shown(paths: pd.Index, data: Data) -> pd.Series:
    """Paths below the data folder, by path."""
    root = str(Path(data.config.data).absolute())
    return pd.Series([os.path.relpath(os.path.abspath(path), root) for path in paths], index=paths)


def _unusable(facts: Facts, names: pd.Series) -> Iterator[Note]:
    bad = facts.table[facts.table["fault"] != ""]
    for code, found in by_kind((path, BadPicture(*row)) for path, *row in bad[["fault", "found"]].itertuples()).items():
        what, mend = PROBLEMS[code]
        yield about(
            "error", code, f"{what}: {next(iter(found.values()))}", names[list(found)], mend + POLICY, risk=RISK
        )


def _forms(whole: pd.DataFrame, names: pd.Series) -> Iterator[Note]:
    suffix = whole.index.to_series().map(lambda path: Path(path).suffix.lower())
    wrong = suffix.isin(FORMS) & (suffix.map(FORMS) != whole["form"])
    colours = whole["mode"].isin(["RGB", "RGBA", "CMYK", "YCbCr", "LAB"])
    mode = whole["mode"]
    palette = mode.isin(["P", "PA", "1"]) & (whole["form"] != "GIF")  # which knows no other colours
    said = suffix + " holding " + whole["form"]
    for severity, code, which, what, mend, caption in (
        ("warn", "IMG-EXT", wrong, "the file's name tells another format than its content", "it is read as what it is; "
         "rename the files, or other tools will refuse them", said),
        ("warn", "IMG-CMYK", mode == "CMYK", "colours are for print (CMYK); OpenCV makes them RGB, others otherwise",
         "convert them to RGB once, for train and test alike", mode),
        ("warn", "IMG-FRAMES", whole["frames"] > 1, "files hold several frames or pages: the first is taken",
         "cut out the frame that counts, if it is another", whole["frames"].astype(str) + " frames"),
        ("warn", "IMG-ALPHA", whole["clear"] > CLEAR, "pixels are transparent: the colours hidden below them are seen",
         "`alpha: white` or `black` in `image:` lays them on that", (100 * whole["clear"]).map("{:.0f}% clear".format)),
        ("info", "IMG-EXIF", whole["turned"] != 1, "an EXIF note turns them; it is followed once, everywhere",
         "boxes of such pictures: see boxes.upright", "EXIF " + whole["turned"].astype(str)),
        ("info", "IMG-TRUNC", whole["endless"], "the end mark is missing, but every pixel decodes", "nothing: they are read "
         "as they are", mode),
        ("info", "IMG-PALETTE", palette, "colours come from a palette, or are black and white only",
         "nothing: they are read as RGB", mode),
        ("info", "IMG-GREY", mode.isin(["L", "LA"]) & colours.any(), "grey pictures among coloured ones",
         "nothing: they are read as RGB; is it the same share in test?", mode),
    ):  # fmt: skip
        if which.any():
            found = whole.index[which]
            tiles = tuple((path, f"{names[path]}\n{caption[path]}") for path in found[:TILES])
            yield about(severity, code, what, names[found], mend, tiles=tiles)


def _sizes(whole: pd.DataFrame, names: pd.Series) -> Iterator[Note]:
    if not len(whole):
        return
    sides = whole[["width", "height"]]
    short, long = sides.min(axis=1), sides.max(axis=1)
    tiny = (short < TINY) & (short.median() >= 2 * TINY) | (short == 1)
    odd = (long >= LONG * short) & (long.median() < LONG / 2 * short.median()) & ~tiny
    extent = sides["width"].astype(str) + " x " + sides["height"].astype(str)
    lost = "are they pictures, or what stands for one that is lost?"
    for code, which, what, mend in (
        ("IMG-TINY", tiny, f"pictures have a side of fewer than {TINY} pixels", lost),
        (
            "IMG-ASPECT",
            odd,
            f"pictures are {LONG:g} times as long as wide, or more",
            "fit: pad keeps all of them in sight",
        ),
    ):
        if which.any():
            found = whole.index[which]
            tiles = tuple((path, f"{names[path]}\n{extent[path]}") for path in found[:TILES])
            yield about("warn", code, what, names[found], mend, tiles=tiles)


def described(facts: Facts) -> str:
    """How many pictures, of which sizes and aspects."""
    whole = facts.whole
    if not len(whole):
        return f"{len(facts.table):,} pictures, none of which can be used"
    extent = whole["width"].astype(str) + " x " + whole["height"].astype(str)
    common = extent.value_counts()
    low, middle, high = np.quantile(whole[["width", "height"]].min(axis=1), [0.01, 0.5, 0.99])
    ratio = np.quantile(whole["width"] / whole["height"], [0.01, 0.5, 0.99])
    told = ", ".join(f"{size} ({n:,})" for size, n in common.head(3).items())
    more = f" and {len(common) - 3} other sizes" if len(common) > 3 else ""
    return (
        f"{len(facts.table):,} pictures: {told}{more}; shorter side {low:.0f}, {middle:.0f}, {high:.0f} pixels, width over "
        f"height {ratio[0]:.2f}, {ratio[1]:.2f}, {ratio[2]:.2f} (1%, middle, 99%)"
    )


def _names(paths: pd.Index, data: Data, names: pd.Series) -> Iterator[Note]:
    nfc = functools.partial(unicodedata.normalize, "NFC")
    for code, key, what, mend in (
        ("IMG-CASE", str.lower, "names differ only by case", "rename them: on other systems one replaces the other"),
        ("IMG-UNICODE", nfc, "names differ only by how accents are coded", "rename them: they are joined byte by byte"),
    ):
        keys = names.map(key)
        same = keys.duplicated(keep=False)
        if same.any():
            yield about("warn", code, what, names[same].sort_values(), mend)
    strange = names.map(lambda name: any(unicodedata.category(c) == "Cc" for c in name))
    if strange.any():
        yield about("warn", "IMG-NAME", "names hold control characters", names[strange].map(repr), "rename them")


def _unlisted(data: Data) -> Iterator[Note]:
    """Files beside the pictures that no table lists, and hidden ones."""
    every = [rows.shown.pictures for rows in (data.train, *data.unknown.values())]
    listed = {os.path.abspath(path) for pictures in every if pictures is not None for path in pictures}
    folders = sorted({os.path.dirname(path) for path in listed})
    ours = artifacts.cache_folder(data.name).absolute()  # of `read:`, with its lock
    orphans, hidden = [], []
    for folder in filter(os.path.isdir, folders):
        for entry in os.scandir(folder):
            if entry.name.startswith((".", "__MACOSX")):
                hidden += [entry.path] * (not Path(folder).is_relative_to(ours))
            elif Path(entry.name).suffix.lower() in FORMS and entry.path not in listed:
                orphans.append(entry.path)
    if data.config.image is not None and data.config.image.bad != "refuse":  # those left out were listed
        bad = badpictures.find(data.name, orphans, data.problem.reading)
        orphans = [path for path in orphans if path not in bad]
    shown = {path: os.path.relpath(path, os.path.abspath(data.config.data)) for path in orphans + hidden}
    if orphans:
        orphans.sort()
        tiles = tuple((path, shown[path]) for path in orphans[:TILES])
        names, mend = [shown[path] for path in orphans], "is a table cut short? they are left out"
        yield about("warn", "IMG-ORPHAN", "no table lists these pictures", names, mend, tiles=tiles)
    if hidden:
        what = "hidden files and folders lie among the pictures; they are passed over"
        yield about("info", "FS-HIDDEN", what, sorted(shown[path] for path in hidden), "remove them")
