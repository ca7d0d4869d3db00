"""DICOM pictures (.dcm, .dicom) as Pillow sees them, so that whatever opens a picture opens these: registered on import.

A picture is the first frame in 8 bits: values by the file's own rescaling and window, from the lowest of the picture to its
highest, and turned where low is meant to be white (DICOM PS3.3, C.7.6.3.1.2 and C.11).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image, ImageFile

FORMAT = "DICOM"  # as Pillow calls it
SUFFIXES = (".dcm", ".dicom")
PREAMBLE = 128  # bytes before the mark
TAGS = ["Rows", "Columns", "SamplesPerPixel"]


class DicomFile(ImageFile.ImageFile):
    """The header alone; pixels are read by `load`. Raises SyntaxError where the file is none, as Pillow wants it."""

    format = FORMAT
    format_description = "Digital Imaging and Communications in Medicine"

    def _open(self) -> None:
        file: Any = self.fp
        file.seek(PREAMBLE)
        if file.read(4) != b"DICM":
            raise SyntaxError("not a DICOM file")
        import pydicom  # 0.7 s, which other pictures do without

        file.seek(0)
        header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=TAGS)
        if "Rows" not in header or "Columns" not in header:
            raise SyntaxError("a DICOM file without a picture")
        self._size = (int(header.Columns), int(header.Rows))
        self._mode = "RGB" if header.get("SamplesPerPixel", 1) == 3 else "L"

    def load(self) -> Any:
        """Raises OSError where the pixels can't be decoded."""
        if self._im is None:
            file: Any = self.fp
            file.seek(0)
            self.im = Image.fromarray(_pixels(file)).im
            self._mode = self.im.mode
        return Image.Image.load(self)


def _pixels(file: Any) -> np.ndarray:
    """[h, w] or [h, w, 3] uint8."""
    import pydicom
    from pydicom import pixels

    try:
        dataset = pydicom.dcmread(file)
        values = pixels.pixel_array(dataset, index=0)
        if values.ndim == 3:
            return np.ascontiguousarray(values) if values.dtype == np.uint8 else _eight_bits(values)
        shown = pixels.apply_voi_lut(pixels.apply_modality_lut(values, dataset), dataset)
    except (
        AttributeError,
        EOFError,
        KeyError,
        IndexError,
        NotImplementedError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as e:
        raise OSError(f"DICOM: {e}") from e
    scaled = _eight_bits(shown)
    return 255 - scaled if dataset.PhotometricInterpretation == "MONOCHROME1" else scaled


def _eight_bits(values: np.ndarray) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    return ((values - low) * (255 / max(high - low, 1e-9))).round().astype(np.uint8)


Image.register_open(FORMAT, DicomFile)
Image.register_extensions(FORMAT, list(SUFFIXES))
