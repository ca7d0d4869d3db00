"""Tiny files of the zoo: CSVs, pictures, DICOM."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np


def table(path: Path, header: str, rows: Iterable[Sequence[object]], quoting: int = csv.QUOTE_MINIMAL) -> None:
    """A CSV; header: its names, divided by commas."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as f:
        writer = csv.writer(f, quoting=quoting, lineterminator="\n")
        writer.writerow(header.split(","))
        writer.writerows(rows)


def picture(path: Path, brightness: int, seed: int, shape: tuple[int, int] = (40, 40)) -> None:
    """A noisy colour picture around `brightness` (0..255), by which its label can be told; its suffix is its format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(-30, 31, (*shape, 3))
    cv2.imwrite(str(path), (brightness + noise).clip(0, 255).astype(np.uint8))


def pictures(folder: Path, names: Mapping[str, int], suffix: str, shape: tuple[int, int] = (40, 40)) -> None:
    """A picture for each name, of the brightness that stands there."""
    for seed, (name, brightness) in enumerate(names.items()):
        picture(folder / f"{name}{suffix}", brightness, seed, shape)


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
