"""Tiny files of the zoo: CSVs, JSON, pictures, DICOM, and names such as hosts give."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np


def table(path: Path, header: str, rows: Iterable[Sequence[object]], quoting: int = csv.QUOTE_MINIMAL) -> None:
    """A CSV; header: its names, divided by commas."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as f:
        writer = csv.writer(f, quoting=quoting, lineterminator="\n")
        writer.writerow(header.split(","))
        writer.writerows(rows)


def document(path: Path, content: Any) -> None:
    """A JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def picture(path: Path, brightness: int, seed: int, shape: tuple[int, int] = (40, 40)) -> None:
    """A noisy colour picture around `brightness` (0..255), by which its label can be told; its suffix is its format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(-30, 31, (*shape, 3))
    cv2.imwrite(str(path), (brightness + noise).clip(0, 255).astype(np.uint8))


def pictures(folder: Path, names: Mapping[str, int], suffix: str, shape: tuple[int, int] = (40, 40)) -> None:
    """A picture for each name, of the brightness that stands there."""
    for seed, (name, brightness) in enumerate(names.items()):
        picture(folder / f"{name}{suffix}", brightness, seed, shape)


def shades(levels: Iterable[int], of: int) -> list[int]:
    """A brightness (30..225) for each level 0..of - 1."""
    return [30 + 195 * level // max(1, of - 1) for level in levels]


def hexes(n: int, digits: int, seed: int = 0) -> list[str]:
    """Different names of hexadecimal digits."""
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list("0123456789abcdef"), digits)) for _ in range(n)]


def uuids(n: int, seed: int = 0) -> list[str]:
    """Names such as 5998cfa4-23d2-11e8-a6a3-ec086b02610b."""
    return [f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}" for h in hexes(n, 32, seed)]


def numbers(n: int, low: int, high: int, seed: int = 0) -> list[str]:
    """Different whole numbers of low..high as text, in no order."""
    return [str(low + x) for x in np.random.default_rng(seed).choice(high - low, n, replace=False)]


def dicom(values: np.ndarray, **tags: object) -> bytes:
    """A DICOM file. values: [h, w] or [h, w, 3], unsigned whole numbers."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["podium"])
    dataset.Rows, dataset.Columns = values.shape[:2]
    dataset.SamplesPerPixel = 3 if values.ndim == 3 else 1
    dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = "RGB" if values.ndim == 3 else "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = values.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = 0
    dataset.PixelData = values.tobytes()
    for tag, value in tags.items():
        setattr(dataset, tag, value)
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()
