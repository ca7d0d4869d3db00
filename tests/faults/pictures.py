"""Rows 1 to 21: files of pictures. What can't be used is refused alike by `make check` and by what training decodes."""

from __future__ import annotations

import ctypes
import os
import zlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from competition import cache, data
from competition.check.audit import audit
from competition.decoding import decode, read
from competition.errors import DataFault, Finding
from faults.case import Case, Make

IMAGES = Path("data/images")
FIRST, TEST = IMAGES / "001.png", IMAGES / "060.png"
CHECK = ("check", "toy")


def photo(height: int = 48, width: int = 64) -> np.ndarray:
    """[height, width, 3]: waves with noise, so that no two rows are alike and JPEG has something to keep."""
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([np.sin(x / 5) + 1, np.cos(y / 7) + 1, np.sin((x + y) / 9) + 1], axis=-1) * 100
    return (waves + np.random.default_rng(0).integers(0, 40, waves.shape)).astype(np.uint8)


def saved(form: str, picture: np.ndarray | Image.Image | None = None, **options: object) -> bytes:
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(photo() if picture is None else picture)
    buffer = BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def encoded(ending: str, picture: np.ndarray) -> bytes:
    return cv2.imencode(ending, picture)[1].tobytes()


def both(content: bytes) -> Callable[[Make], object]:
    """A training and a test picture are this."""
    return changed(lambda: [path.write_bytes(content) for path in (FIRST, TEST)])


def changed(change: Callable[[], object], **keys: object) -> Callable[[Make], object]:
    def build(make: Make) -> None:
        make("multiclass", run="epochs=1 views=[plain]", **keys)
        change()

    return build


def replaced(path: Path, make: Callable[[Path], object]) -> Callable[[Make], object]:
    def change() -> None:
        path.unlink()
        make(path)

    return changed(change)


def decode_all() -> None:
    """What training does before its first fold."""
    toy = data.load("toy")
    paths = [*toy.train.shown.pictures, *toy.test.shown.pictures]
    folder = cache.folder_of("toy", "squash", (20, 20), toy.problem.reading)
    cache.build(paths, folder, "squash", (20, 20), lambda *_: None, toy.problem.reading)


def check_and_train() -> None:
    """`make check`, and what training decodes: the two refuse alike, and mend alike."""
    told = refusal(decode_all)
    assert [(f.code, f.mend, f.risk) for f in refusal(lambda: audit("toy"))] == [(f.code, f.mend, f.risk) for f in told]
    if told:
        raise DataFault(*told)


def refusal(act: Callable[[], object]) -> tuple[Finding, ...]:
    try:
        act()
    except DataFault as fault:
        return fault.findings
    return ()


def refused(row: int, name: str, build: Callable[[Make], object], code: str, *said: str) -> Case:
    return Case(row, name, build, check_and_train, "error", code, 3, said)


def noted(row: int, name: str, build: Callable[[Make], object], code: str, *said: str,
          holds: Callable[[], object] | None = None) -> Case:  # fmt: skip
    """Said by `make check`; training goes on."""
    return Case(row, name, build, check_and_train, "warning", code, said=said, holds=holds)


def close_to(picture: np.ndarray, within: float) -> Callable[[], None]:
    def holds() -> None:
        found = decode(read(str(FIRST)), 1000, data.load("toy").problem.reading)
        assert found.shape == picture.shape
        assert np.abs(found.astype(float) - picture).mean() < within

    return holds


# ---- files that are not there, or no files


def renamed(old: str, new: str) -> Callable[[Make], object]:
    return changed(lambda: [p.rename(str(p).replace(old, new)) for p in IMAGES.iterdir()])


@contextmanager
def without_override() -> Generator[None]:
    """This thread, and those that it starts, are refused what a file's mode refuses, even as root (capset, Linux)."""
    if os.geteuid():
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    head = (ctypes.c_uint32 * 2)(0x20080522, 0)
    whole = (ctypes.c_uint32 * 6)()
    assert libc.capget(head, whole) == 0
    less = (ctypes.c_uint32 * 6)(*whole)
    less[0] &= ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, of the effective set
    assert libc.capset(head, less) == 0
    try:
        yield
    finally:
        assert libc.capset(head, whole) == 0


def unprivileged() -> None:
    with without_override():
        check_and_train()


def unreadable() -> None:
    FIRST.chmod(0)


MISSING = [
    refused(1, "missing", changed(lambda: [FIRST.unlink(), TEST.unlink()]), "IMG-MISSING", "001.png", "060.png",
             "2 pictures", "bad: drop"),
    refused(1, "another ending", renamed(".png", ".jpg"), "IMG-MISSING", "end the template in `image:` by '.jpg'"),
    refused(1, "an ending in upper case", renamed(".png", ".PNG"), "IMG-MISSING", "by '.PNG'"),
    refused(1, "an ending twice", changed(lambda: None, image="images/{id}.png.png"), "IMG-MISSING", "'000.png' is there"),
    refused(1, "no ending", changed(lambda: None, image="images/{id}"), "IMG-MISSING", "by '.png'"),
    refused(1, "another folder", changed(lambda: None, image="image/{id}.png"), "IMG-MISSING", "'images'"),
    refused(2, "empty", both(b""), "IMG-EMPTY", "0 bytes", "001.png"),
    refused(20, "a folder", replaced(FIRST, Path.mkdir), "IMG-NOTFILE", "drwx"),
    refused(20, "a pipe", replaced(FIRST, os.mkfifo), "IMG-NOTFILE", "prw"),
    refused(20, "a device", replaced(FIRST, lambda p: p.symlink_to("/dev/zero")), "IMG-NOTFILE", "crw"),
    refused(20, "a dangling link", replaced(FIRST, lambda p: p.symlink_to("gone.png")), "IMG-NOTFILE", "gone.png"),
    refused(20, "a link to itself", replaced(FIRST, lambda p: p.symlink_to(p.name)), "IMG-NOTFILE", "001.png"),
    Case(20, "a link out of the folder", replaced(FIRST, lambda p: p.symlink_to(moved_out(p))), decode_all, "handled",
         holds=lambda: decode(read(str(FIRST)), 8)),
    Case(21, "no right to read", changed(unreadable), unprivileged, "error", "IMG-PERM", 3,
         ("-------", "user", "chmod", "001.png")),
]  # fmt: skip


def moved_out(path: Path) -> Path:
    outside = Path("../linked.png").resolve()
    outside.write_bytes(saved("PNG"))
    return outside


# ---- files that are damaged, or something else

JPEG, PNG, WEBP = saved("JPEG", quality=95), saved("PNG"), saved("WEBP", lossless=True)


def flipped(content: bytes, at: int) -> bytes:
    damaged = bytearray(content)
    damaged[at] ^= 4
    return bytes(damaged)


DAMAGED = [
    refused(3, "JPEG cut in half", both(JPEG[: len(JPEG) // 2]), "IMG-TRUNC", "% of it decodes", "end mark"),
    refused(3, "JPEG cut near its end", both(JPEG[:-40]), "IMG-TRUNC", "% of it decodes"),
    refused(3, "progressive JPEG cut", both(saved("JPEG", progressive=True)[:-200]), "IMG-TRUNC"),
    refused(3, "JPEG of a header", both(JPEG[:300]), "IMG-TRUNC"),
    noted(4, "JPEG without its end mark", both(JPEG[:-2]), "IMG-TRUNC", "every pixel decodes",
           holds=close_to(photo(), 8)),
    refused(5, "PNG cut", both(PNG[: len(PNG) // 2]), "IMG-TRUNC", "about 4", "% of it decodes"),
    refused(5, "PNG without its last chunk", both(PNG[:-12]), "IMG-TRUNC", "about 100%"),
    refused(5, "WebP cut", both(WEBP[: len(WEBP) // 2]), "IMG-TRUNC"),
    refused(5, "GIF cut", both(saved("GIF")[:900]), "IMG-TRUNC"),
    refused(5, "BMP cut", both(saved("BMP")[:900]), "IMG-TRUNC"),
    refused(5, "TIFF cut", both(saved("TIFF")[:900]), "IMG-TRUNC"),
    refused(5, "TIFF without its directory", both(saved("TIFF", compression="tiff_lzw")[:900]), "IMG-TRUNC"),
    refused(6, "PNG with a flipped bit", both(flipped(PNG, len(PNG) // 2)), "IMG-CORRUPT", "CRC"),
    refused(6, "PNG with a flipped header", both(flipped(PNG, 20)), "IMG-CORRUPT", "header"),
    refused(8, "error page", both(b"<!DOCTYPE html><html><title>404</title>"), "IMG-NOTIMAGE", "error page", "html"),
    refused(8, "Git LFS pointer", both(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"),
             "IMG-NOTIMAGE", "git lfs pull"),
    refused(8, "text", both(b"not a picture at all"), "IMG-NOTIMAGE", "not a picture"),
    refused(8, "SVG", both(b"<?xml version='1.0'?><svg/>"), "IMG-NOTIMAGE", "svg"),
]  # fmt: skip

# ---- pictures of other kinds


def pages(form: str) -> bytes:
    frames = [Image.fromarray(photo()), Image.fromarray(255 - photo())]
    return saved(form, frames[0], save_all=True, append_images=frames[1:])


def turned(orientation: int, picture: np.ndarray | None = None, form: str = "JPEG", **options: object) -> bytes:
    """The photo, stored so that its EXIF note turns it upright."""
    note = Image.Exif()
    note[0x0112] = orientation
    stored = {6: Image.Transpose.ROTATE_90, 3: Image.Transpose.ROTATE_180}[orientation]
    image = Image.fromarray(photo() if picture is None else picture).transpose(stored)
    return saved(form, image, exif=note.tobytes(), quality=95, **options)


def clear(alpha: int = 0) -> np.ndarray:
    """Its left half is transparent, with a colour beneath."""
    picture = np.dstack([photo(), np.full(photo().shape[:2], 255, np.uint8)])
    picture[:, :32, 3] = alpha
    return picture


def bomb(side: int) -> bytes:
    """A PNG that says that it is side x side pixels."""
    sides = b"IHDR" + side.to_bytes(4, "big") * 2 + PNG[24:29]
    return PNG[:12] + sides + zlib.crc32(sides).to_bytes(4, "big") + PNG[33:]


KINDS = [
    noted(9, "JPEG named .png", both(JPEG), "IMG-EXT", "2 pictures", "001.png", holds=close_to(photo(), 8)),
    noted(9, "WebP named .png", both(WEBP), "IMG-EXT", holds=close_to(photo(), 0.1)),
    noted(10, "animated GIF", both(pages("GIF")), "IMG-FRAMES", "first", holds=close_to(photo(), 20)),
    noted(10, "TIFF of two pages", both(pages("TIFF")), "IMG-FRAMES", "first", holds=close_to(photo(), 0.1)),
    noted(10, "animated WebP", both(pages("WEBP")), "IMG-FRAMES", "first", holds=close_to(photo(), 30)),
    noted(11, "CMYK JPEG", both(saved("JPEG", Image.fromarray(photo()).convert("CMYK"))), "IMG-CMYK",
           "OpenCV", holds=close_to(photo(), 10)),
    noted(15, "transparent pixels", both(saved("PNG", clear())), "IMG-ALPHA", "alpha: white",
           holds=close_to(photo(), 0.1)),
    noted(16, "1-bit", both(saved("PNG", Image.fromarray(photo()).convert("1"))), "IMG-PALETTE", "black and white"),
    noted(16, "palette", both(saved("PNG", Image.fromarray(photo()).convert("P"))), "IMG-PALETTE", "palette"),
    noted(16, "grey with alpha", both(saved("PNG", Image.fromarray(photo()).convert("LA"))), "IMG-GREY", "grey pictures"),
    noted(16, "grey", both(saved("JPEG", Image.fromarray(photo()).convert("L"))), "IMG-GREY", "grey pictures"),
    noted(17, "turned by EXIF", both(turned(6)), "IMG-EXIF", "2 pictures", holds=close_to(photo(), 8)),
    noted(17, "upside down by EXIF", both(turned(3)), "IMG-EXIF", holds=close_to(photo(), 8)),
    refused(18, "bomb", both(bomb(12000)), "IMG-HUGE", "12000 x 12000", "64,000,000"),
    refused(18, "bomb that Pillow refuses", both(bomb(30000)), "IMG-HUGE", "64,000,000"),
    refused(19, "1 x 1", both(saved("PNG", photo(1, 1))), "IMG-TINY", "1 x 1"),
    refused(19, "3000 x 1", both(saved("PNG", photo(1, 3000))), "IMG-TINY", "3000 x 1"),
]  # fmt: skip

# ---- more than 8 bits, and transparency, as competition.yaml says

RAMP = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (48, 1))
SHARE = (RAMP / 65535).astype(np.float32)
GREY_16, RGB_16 = encoded(".png", RAMP), encoded(".png", np.dstack([RAMP] * 3))
TIFF_16, TIFF_F = encoded(".tiff", np.dstack([RAMP] * 3)), saved("TIFF", Image.fromarray(SHARE))
TIFF_F3 = encoded(".tiff", np.dstack([SHARE] * 3))


def transparent_palette() -> bytes:
    """Colour 0, the left half, is transparent."""
    image = Image.fromarray(photo()).convert("RGB").quantize(255)
    shifted = np.asarray(image) + np.uint8(1)
    shifted[:, :32] = 0
    made = Image.fromarray(shifted, "P")
    made.putpalette([7, 7, 7, *image.getpalette()[: 255 * 3]])
    return saved("PNG", made, transparency=0)


def said_how(content: bytes, wanted: np.ndarray, within: float = 1, **how: object) -> dict[str, object]:
    """What a case of a picture that is read as competition.yaml says has in common."""
    keys = {"image": {"train": "images/{id}.png", **how}}
    return {
        "build": changed(lambda: [path.write_bytes(content) for path in (FIRST, TEST)], **keys),
        "act": decode_all,
        "kind": "handled",
        "holds": close_to(wanted, within),
    }


def grey(values: np.ndarray) -> np.ndarray:
    return np.dstack([values.clip(0, 255)] * 3)


def on(colour: int) -> np.ndarray:
    out = photo().astype(float)
    out[:, :32] = colour
    return out


DEPTH = [
    refused(12, "16-bit grey", both(GREY_16), "IMG-DEPTH", "uint16 from 0 to 65535", "depth"),
    refused(13, "16-bit RGB PNG", both(RGB_16), "IMG-DEPTH", "uint16 from 0 to 65535"),
    refused(13, "16-bit RGB TIFF", both(TIFF_16), "IMG-DEPTH", "uint16"),
    refused(14, "float TIFF", both(TIFF_F), "IMG-DEPTH", "float32 from 0 to 1"),
    refused(14, "float RGB TIFF", both(TIFF_F3), "IMG-DEPTH", "float32 from 0 to 1"),
    refused(14, "32-bit TIFF", both(saved("TIFF", Image.fromarray(RAMP.astype(np.int32)))), "IMG-DEPTH", "int32"),
    Case(12, "16-bit grey, scaled", **said_how(GREY_16, grey(RAMP / 257.0), depth="scale")),
    Case(12, "16-bit grey, clipped", **said_how(GREY_16, grey(RAMP), depth="clip")),
    Case(12, "16-bit grey, a range", **said_how(GREY_16, grey((RAMP - 1000.0) / 3000 * 255), depth=[1000, 4000])),
    Case(13, "16-bit RGB, scaled", **said_how(RGB_16, grey(RAMP / 257.0), depth="scale")),
    Case(13, "16-bit TIFF, scaled", **said_how(TIFF_16, grey(RAMP / 257.0), depth="scale")),
    Case(14, "float, scaled", **said_how(TIFF_F, grey(RAMP / 257.0), depth="scale")),
    Case(14, "float RGB, a range", **said_how(TIFF_F3, grey(RAMP / 257.0 * 2), depth=[0, 0.5])),
    Case(15, "laid on white", **said_how(saved("PNG", clear()), on(255), alpha="white")),
    Case(15, "laid on black", **said_how(saved("PNG", clear()), on(0), alpha="black")),
    Case(15, "turned and laid on white", **said_how(turned(6, clear(), "PNG"), on(255), alpha="white")),
    Case(15, "palette laid on white", **said_how(transparent_palette(), on(255), 8, alpha="white")),
    Case(12, "a range that falls", changed(lambda: None, image={"train": "images/{id}.png", "depth": [9, 3]}), CHECK,
         "error", "CFG-VALUE", 2, ("rises",)),
]  # fmt: skip

CASES = [*MISSING, *DAMAGED, *KINDS, *DEPTH]
UNTRIED: dict[int, str] = {}
