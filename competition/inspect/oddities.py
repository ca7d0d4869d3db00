"""What is odd about pictures that can be used, and what is made of it: told by `make check`, one sentence a kind."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping

from competition.decoding import JPEGS, Header, alpha, header, lacks_end
from competition.errors import examples

ENDINGS = {".jpg": JPEGS, ".jpeg": JPEGS, ".png": ("PNG",), ".webp": ("WEBP",), ".gif": ("GIF",), ".bmp": ("BMP",),
           ".tif": ("TIFF",), ".tiff": ("TIFF",)}  # fmt: skip
TOLD = {
    "IMG-EXT": "have another format than their ending says; their content counts",
    "IMG-FRAMES": "have several frames or pages; the first is taken",
    "IMG-CMYK": "are CMYK; OpenCV makes them RGB (other decoders differ by a level)",
    "IMG-ALPHA": "have transparent pixels, of which the colour beneath is taken; `alpha: white` or `black` in `image:` lays "
    "them on that",
    "IMG-EXIF": "are turned by their EXIF note, once, wherever they are read",
    "IMG-TRUNC": "lack their end mark, but every pixel decodes; they are taken as they are",
}
COLOURS = {"1": "1-bit", "L": "grey", "LA": "grey with alpha", "P": "palette", "PA": "palette with alpha"}


def of(path: str, data: bytes) -> tuple[str, ...]:
    """Codes of TOLD, and the last its mode, of a picture that decodes."""
    head = header(data)
    ending = os.path.splitext(path)[1].lower()
    odd = {
        "IMG-EXT": ending in ENDINGS and head.form not in ENDINGS[ending],
        "IMG-FRAMES": head.frames > 1,
        "IMG-CMYK": head.mode == "CMYK",
        "IMG-ALPHA": head.clear and _hides(data),
        "IMG-EXIF": head.turn != 1,
        "IMG-TRUNC": lacks_end(data, head),
    }
    return *(code for code, holds in odd.items() if holds), _colours(head)


def _hides(data: bytes) -> bool:
    return bool((alpha(data) < 255).any())


def _colours(head: Header) -> str:
    return COLOURS.get(head.mode, "colour")


def notes(found: Mapping[str, tuple[str, ...]], upright: bool) -> list[str]:
    """found: of each path what `of` says. upright: whether EXIF notes are followed."""
    by_code: dict[str, list[str]] = {}
    for path, codes in found.items():
        for code in codes[:-1]:
            by_code.setdefault(code, []).append(path)
    told = TOLD | ({} if upright else {"IMG-EXIF": "would be turned by their EXIF note, which is passed over"})
    lines = [f"{code}: {len(by_code[code])} pictures {told[code]}: {examples(by_code[code])}" for code in told
             if code in by_code]  # fmt: skip
    colours = Counter(codes[-1] for codes in found.values())
    if len(colours) > 1:
        counts = ", ".join(f"{n} {colour}" for colour, n in colours.most_common())
        lines.append(f"IMG-MODE: pictures are of several kinds, {counts}; all are read as colour")
    return lines + _by_case(found)


def _by_case(paths: Iterable[str]) -> list[str]:
    folded: dict[str, list[str]] = {}
    for path in paths:
        folded.setdefault(path.casefold(), []).append(path)
    alike = [path for group in folded.values() if len(group) > 1 for path in group]
    what = "pictures have names that differ only by case; on macOS and Windows one replaces the other"
    return [f"IMG-CASE: {len(alike)} {what}: {examples(alike)}"] if alike else []
