"""One picture file: read without ever hanging, decoded to 8-bit RGB, or why that can't be (codes of FAULTS 6).

OpenCV decodes (2.6 times the rate of Pillow); Pillow reads the header first, because OpenCV opens decompression bombs and
shortens 16 bits to 8 without a word. What OpenCV does with a file that is cut short differs by its version, so that is
looked at before it is asked.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import warnings
import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO, Literal

import cv2
import numpy as np
import PIL
from PIL import ExifTags, Image, TiffImagePlugin

from competition import dicom, watchdog

VERSION = 1  # of this module: another where the same file becomes other pixels
DECODER = f"decoding {VERSION}, opencv {cv2.__version__}, pillow {PIL.__version__}"
MAX_PIXELS = 64_000_000
TINY = 4  # pixels: a picture with a shorter side shows nothing; 1 x 1 is what servers send instead of one
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", dicom.FORMAT)
JPEGS = ("JPEG", "MPO")
BEGINNINGS = {"JPEG": b"\xff\xd8\xff", "PNG": b"\x89PNG\r\n", "GIF": b"GIF8", "WEBP": b"RIFF", "BMP": b"BM"}
JPEG_END = b"\xff\xd9"
SCALED = {1: cv2.IMREAD_COLOR} | {by: getattr(cv2, f"IMREAD_REDUCED_COLOR_{by}") for by in (2, 4, 8)}
TURNS = {  # EXIF orientation -> what shows the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that turn by a quarter

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # MAX_PIXELS is the lower bound


@dataclass(frozen=True)
class Reading:
    """How a file becomes pixels: upright: turned as its EXIF note says, or as stored; depth and alpha: as of the section
    `image:` of competition.yaml."""

    upright: bool = True
    depth: Literal["scale", "clip"] | tuple[float, float] | None = None
    alpha: Literal["drop", "white", "black"] = "drop"

    @property
    def mark(self) -> str:
        """What tells its decoded pictures from those of the default, as the end of a folder's name."""
        depth = "" if self.depth is None else f"-{self.depth}"
        if isinstance(self.depth, tuple):
            depth = f"-{self.depth[0]:g}to{self.depth[1]:g}"
        return ("" if self.upright else "-stored") + depth + ("" if self.alpha == "drop" else f"-{self.alpha}")


PLAIN = Reading()


@dataclass(frozen=True)
class Header:
    """width and height as stored; mode: Pillow's; form: name of the format; turn: EXIF's orientation, 1 is upright;
    deep: more than 8 bits a channel."""

    width: int
    height: int
    mode: str
    form: str
    turn: int = 1
    deep: bool = False
    clear: bool = False  # it has an alpha channel or a transparent colour
    frames: int = 1
    progressive: bool = False


class BadPicture(Exception):
    """One picture that can't be used: a code of badpictures.PROBLEMS and what was found."""

    def __init__(self, code: str, found: str):
        super().__init__(code, found)
        self.code, self.found = code, found


def opened(path: str) -> BinaryIO:
    """The file, open to be read. A pipe or a device is never waited for. Raises BadPicture."""
    try:
        file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as e:
        raise unreadable(path, e) from None
    try:
        plain(os.fstat(file))
    except BadPicture:
        os.close(file)
        raise
    return os.fdopen(file, "rb")


def read(path: str) -> bytes:
    """The file's content. Raises BadPicture."""
    try:
        with watchdog.at(lambda: f"reading {path}"), opened(path) as file:
            return file.read()
    except OSError as e:  # of a failing disk
        raise unreadable(path, e) from None


def plain(found: os.stat_result) -> os.stat_result:
    """The same, of a plain file. Raises BadPicture IMG-NOTFILE."""
    if not stat.S_ISREG(found.st_mode):
        raise BadPicture("IMG-NOTFILE", stat.filemode(found.st_mode))
    return found


def unreadable(path: str, why: OSError) -> BadPicture:
    """What the operating system's refusal means."""
    if why.errno in (errno.EACCES, errno.EPERM):
        return BadPicture("IMG-PERM", f"user {_user()} may not read it: {_mode(path)}")
    if why.errno == errno.ENAMETOOLONG:
        return BadPicture("IMG-NAME", f"a name of {max(map(len, os.fsencode(path).split(b'/')))} bytes")
    if os.path.islink(path):
        return BadPicture("IMG-NOTFILE", f"a link to {os.readlink(path)!r}, which is not there")
    if why.errno in (errno.ENOENT, errno.ENOTDIR):
        return BadPicture("IMG-MISSING", "no such file")
    return BadPicture("IMG-READ", str(why))


def _user() -> int | str:
    return os.geteuid() if hasattr(os, "geteuid") else os.environ.get("USERNAME", "")  # Windows has no numbers


def _mode(path: str) -> str:
    try:
        return stat.filemode(os.stat(path).st_mode)
    except OSError:
        return "nor look into its folder"


def decode(data: bytes, at_least: int, reading: Reading = PLAIN, exact: bool = False) -> np.ndarray:
    """A picture file's content as uint8 RGB [h, w, 3]; of an animation or of several pages the first. Raises BadPicture.

    A JPEG is scaled down by 2, 4 or 8 while decoding, as long as both sides stay `at_least` pixels; exact: and divide,
    or the last pixel stands for less than the others and boxes would be up to a pixel off.
    """
    head = header(data)
    if head.width * head.height > MAX_PIXELS:
        raise BadPicture("IMG-HUGE", f"{head.width} x {head.height}")
    if min(head.width, head.height) < TINY:
        raise BadPicture("IMG-TINY", f"{head.width} x {head.height}")
    if head.form == dicom.FORMAT:
        return _by_pillow(data)
    data = whole(data, head)
    if head.deep:
        return _of_depth(data, head, reading)
    sides = head.width, head.height
    halves = (8, 4, 2) if head.form in JPEGS else ()  # only JPEG averages; others would be point-sampled
    fits = [f for f in halves if min(sides) >= f * at_least and not (exact and any(side % f for side in sides))]
    picture = _colour(data, SCALED[max(fits, default=1)], reading)
    if picture is None:
        raise BadPicture("IMG-CORRUPT", f"{head.form}, {len(data):,} bytes")
    if head.clear and reading.alpha != "drop":
        share = _alpha(data, head, reading)[..., None] / 255
        picture = np.rint(picture * share + (255 if reading.alpha == "white" else 0) * (1 - share)).astype(np.uint8)
    return picture


def header(data: bytes) -> Header:
    """What the file says of itself, before a pixel is decoded. Raises BadPicture."""
    if not data:
        raise BadPicture("IMG-EMPTY", "0 bytes")
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as picture:
            form, mode = str(picture.format), picture.mode
            bits = picture.tag_v2.get(258, (8,)) if isinstance(picture, TiffImagePlugin.TiffImageFile) else (8,)
            deep = mode.startswith(("I", "F")) or (form == "PNG" and data[24] > 8) or max(bits) > 8
            clear = mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info
            frames = 1 if form == "MPO" else getattr(picture, "n_frames", 1)
            return Header(
                *picture.size, mode, form, turn_of(picture), deep, clear, frames, "progressive" in picture.info
            )
    except Image.DecompressionBombError as e:
        raise BadPicture("IMG-HUGE", str(e)) from None
    except (OSError, SyntaxError, ValueError, TypeError, struct.error):
        return _float_colour(data)


def turn_of(picture: Image.Image) -> int:
    """The orientation of the EXIF block alone, as OpenCV reads it; Pillow's getexif also takes XMP's word, and decodes a
    PNG for it."""
    if picture.format == "TIFF":
        return 1  # Pillow and OpenCV turn it whatever they are asked, so that is the only form there is
    note = Image.Exif()
    note.load(picture.info.get("exif", b""))
    turn = note.get(ExifTags.Base.Orientation, 1)
    return turn if turn in range(1, 9) else 1


def _float_colour(data: bytes) -> Header:
    """A TIFF of three float channels, which Pillow has no mode for. Raises BadPicture where it is none."""
    if data[:4] in (b"II*\0", b"MM\0*"):
        try:
            tags = TiffImagePlugin.ImageFileDirectory_v2(data[:8])
            file = BytesIO(data)
            file.seek(tags.next)
            tags.load(file)
            if max(tags[258]) > 8:
                return Header(int(tags[256]), int(tags[257]), "F;RGB", "TIFF", deep=True)
        except (OSError, KeyError, ValueError, TypeError, struct.error, SyntaxError):
            raise BadPicture("IMG-TRUNC", f"a TIFF of {len(data):,} bytes without its directory") from None
    raise _no_header(data)


def _no_header(data: bytes) -> BadPicture:
    """Of a file that no format knows, or whose header is broken."""
    for form, begin in BEGINNINGS.items():
        if data.startswith(begin) and (form != "WEBP" or data[8:12] == b"WEBP"):
            cut = (form == "JPEG" and not data.rstrip(b"\0").endswith(JPEG_END)) or (
                form == "WEBP" and len(data) < _webp_size(data)
            )
            return BadPicture("IMG-TRUNC" if cut else "IMG-CORRUPT", f"{form}, {len(data):,} bytes: a broken header")
    text = data[:200].lstrip().lower()
    if data.startswith(b"version https://git-lfs"):
        return BadPicture("IMG-NOTIMAGE", f"a Git LFS pointer, not the file itself: run `git lfs pull`; {data[:60]!r}")
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return BadPicture("IMG-NOTIMAGE", f"it looks like an error page: begins with {data[:60]!r}")
    return BadPicture("IMG-NOTIMAGE", f"begins with {data[:60]!r}")


def whole(data: bytes, head: Header) -> bytes:
    """The file with all its pixels. A JPEG that lacks but its end mark gets it. Raises BadPicture IMG-TRUNC, IMG-CORRUPT."""
    if lacks_end(data, head):
        if head.progressive:
            raise BadPicture("IMG-TRUNC", "a progressive JPEG without an end mark: its last details are missing")
        share = _decoded_share(data)
        if share < 1:
            raise BadPicture("IMG-TRUNC", f"about {share:.0%} of it decodes, and there is no end mark")
        return data + JPEG_END
    if head.form == "PNG":
        _check_chunks(data, head)
    elif head.form == "WEBP" and len(data) < _webp_size(data):
        raise BadPicture("IMG-TRUNC", f"{len(data):,} of {_webp_size(data):,} bytes")
    elif head.form not in (*JPEGS, "WEBP") and head.mode != "F;RGB":
        try:
            with Image.open(BytesIO(data), formats=FORMATS) as picture:
                picture.load()
        except (OSError, SyntaxError, ValueError, struct.error) as e:
            raise BadPicture("IMG-TRUNC" if "truncated" in str(e) else "IMG-CORRUPT", f"{head.form}: {e}") from None
    return data


def _webp_size(data: bytes) -> int:
    return int.from_bytes(data[4:8], "little") + 8


def lacks_end(data: bytes, head: Header) -> bool:
    """Whether it is a JPEG without its end mark."""
    return head.form in JPEGS and not data.rstrip(b"\0").endswith(JPEG_END) and JPEG_END not in data[-1024:]


def _decoded_share(data: bytes) -> float:
    """How far a JPEG without an end decodes, 1: every pixel. What is missing shows the padding that is put in its place,
    so two paddings give two pictures from there on."""
    one, other = (_colour(data + pad * 64 + JPEG_END, cv2.IMREAD_COLOR, PLAIN) for pad in (b"\0", b"\x5a"))
    if one is None or other is None:
        return 0.0
    differs = (one != other).any(axis=(1, 2))
    return float(np.argmax(differs) / len(differs)) if differs.any() else 1.0


def _check_chunks(data: bytes, head: Header) -> None:
    """Raises BadPicture where a PNG ends before its last chunk, or a checksum is wrong."""
    at, pixels = 8, []
    while at < len(data):
        size, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        body, end = data[at + 4 : at + 8 + size], at + 12 + size
        if name == b"IDAT":
            pixels.append(body[4:])
        if end > len(data):
            break
        if zlib.crc32(body) != int.from_bytes(data[end - 4 : end], "big"):
            raise BadPicture("IMG-CORRUPT", f"the checksum (CRC) of the PNG's chunk {name!r} is wrong")
        if name == b"IEND":
            return
        at = end
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(data[25], 1)
    size = ((head.width * channels * data[24] + 7) // 8 + 1) * head.height
    try:
        got = len(zlib.decompressobj().decompress(b"".join(pixels), size))
    except zlib.error:
        got = 0
    share = got / size
    raise BadPicture("IMG-TRUNC", f"about {min(share, 1):.0%} of it decodes, and the last chunk of the PNG is missing")


def _colour(data: bytes, flag: int, reading: Reading) -> np.ndarray | None:
    """[h, w, 3] RGB, of the file's depth where the flag says so; None where OpenCV gives up."""
    flag |= 0 if reading.upright else cv2.IMREAD_IGNORE_ORIENTATION
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    except cv2.error:
        return None
    return None if picture is None else cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def _by_pillow(data: bytes) -> np.ndarray:
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as picture:
            return np.asarray(picture.convert("RGB"))
    except OSError as e:
        raise BadPicture("IMG-CORRUPT", str(e)) from None


def _of_depth(data: bytes, head: Header, reading: Reading) -> np.ndarray:
    """A picture of more than 8 bits as `depth` says. Raises BadPicture IMG-DEPTH where nothing is said, with the range."""
    if head.mode in ("I", "F"):  # OpenCV can't
        with Image.open(BytesIO(data), formats=FORMATS) as picture:
            values = np.asarray(picture)[..., None].repeat(3, axis=2)
    else:
        values = _colour(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH, reading)
    if values is None:
        raise BadPicture("IMG-CORRUPT", f"{head.form} of mode {head.mode}, {len(data):,} bytes")
    if reading.depth is None:
        raise BadPicture("IMG-DEPTH", f"{values.dtype} from {np.nanmin(values):g} to {np.nanmax(values):g}")
    top = 1.0 if values.dtype.kind == "f" else np.iinfo(values.dtype).max
    low, high = (
        {"scale": (0, top), "clip": (0, 255)}[reading.depth] if isinstance(reading.depth, str) else reading.depth
    )
    share = (np.nan_to_num(values.astype(np.float64), nan=low) - low) / (high - low)
    return np.rint(share.clip(0, 1) * 255).astype(np.uint8)


def alpha(data: bytes) -> np.ndarray:
    """[h, w] uint8, 0 is transparent, as stored."""
    with Image.open(BytesIO(data), formats=FORMATS) as picture:
        return np.asarray(picture.convert("RGBA").getchannel("A"))


def _alpha(data: bytes, head: Header, reading: Reading) -> np.ndarray:
    """The same, turned as the picture is."""
    channel = Image.fromarray(alpha(data))
    turned = reading.upright and head.turn in TURNS
    return np.asarray(channel.transpose(TURNS[head.turn]) if turned else channel, dtype=np.float64)
