"""`read: icebergs.py:read`: radar bands that stand as numbers in JSON, as pictures."""

import json

import cv2
import numpy as np
import pandas as pd


def read(data, into):
    train, test = (pd.DataFrame(json.loads((data / f"{part}.json").read_text())) for part in ("train", "test"))
    for table in (train, test):
        for id, *bands in zip(table["id"], table.pop("band_1"), table.pop("band_2")):
            first, second = (np.reshape(band, (75, 75)) for band in bands)  # radar in dB, of two polarisations
            shown = 4 * (np.dstack([first, second, (first + second) / 2]) + 45)
            cv2.imwrite(str(into / f"{id}.png"), shown.clip(0, 255).astype(np.uint8))
    return train, test, pd.read_csv(data / "sample_submission.csv", dtype=str)
