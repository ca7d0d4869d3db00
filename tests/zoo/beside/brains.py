"""`read: brains.py:read`: the middle slice of three series of a patient, as the colours of one picture."""

import cv2
import numpy as np
import pandas as pd
import pydicom


def read(data, into):
    train, sample = (pd.read_csv(data / f"{name}.csv", dtype=str) for name in ("train_labels", "sample_submission"))
    for part, table in (("train", train), ("test", sample)):
        for patient in table["BraTS21ID"]:
            scans = [_middle(data / part / patient / series) for series in ("FLAIR", "T1wCE", "T2w")]
            cv2.imwrite(str(into / f"{patient}.png"), np.dstack(scans))
    return train, sample[["BraTS21ID"]], sample


def _middle(folder):
    slices = sorted(folder.glob("*.dcm"), key=lambda path: int(path.stem.split("-")[1]))
    return (pydicom.dcmread(slices[len(slices) // 2]).pixel_array / 16).clip(0, 255).astype(np.uint8)
