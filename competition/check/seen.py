"""What a picture looks like, as numbers: a vector of its coarse forms and colours, and how well two pictures lie on each
other once one of them is cut and scaled to fit (a window of it: top, bottom, left, right, as parts of its sides).

Both steps go through matrices that resample one side of a picture, so a window costs two small products.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
WAVES, COLOUR_WAVES = 6, 3  # cosines a side, of brightness and of each of two colour differences
COLOUR = (
    2.0  # weight of colours beside brightness; this and 1.5 leave the fewest like pairs beside 99% of copies, measured
)
DARK = 20.0  # added to a vector's length: a flat picture is like no other
ROUNDS, STEP = 6, 0.05  # of alignment; how far an edge may move in one
NEAR, SMALLEST = 0.03, 0.6  # how far a window may reach beyond the picture; the least part of a side
FINE, COARSE = 1.0, 3.0  # sigmas of the band of detail that is compared, at 96 pixels a side


def vectors(pictures: np.ndarray, ends: Sequence[tuple[float, float]]) -> np.ndarray:
    """[n, side, side, 3] uint8 RGB -> [n, down, across, 53] float32: the lowest cosines of each window of `ends`, down and
    across, of length 1 (less where a window is flat).

    Each is weighted by its frequency to the 1.5: spectra of photos fall (Field 1987), and without it all photos are alike.
    The length takes a change of contrast out, the lack of the mean one of brightness. All windows go through one product.
    """
    n, side = pictures.shape[:2]
    luma = pictures @ LUMA
    planes = np.stack([luma, pictures[..., 2] - luma, pictures[..., 0] - luma], axis=1)
    waves = (_cosines(side) @ _resample(np.asarray(ends, np.float32), side)).reshape(-1, side)  # [ends * 6, side]
    across = planes.reshape(-1, side) @ waves.T
    both = (waves @ across.reshape(n * 3, side, -1)).reshape(n, 3, len(ends), WAVES, len(ends), WAVES)
    both = both.transpose(0, 2, 4, 1, 3, 5) * _weights(WAVES)
    few = COLOUR * both[..., 1:, :COLOUR_WAVES, :COLOUR_WAVES]
    parts = [part.reshape(*both.shape[:3], -1) for part in (both[..., 0, :, :], few)]
    vector = np.concatenate([parts[0][..., 1:], parts[1]], axis=-1)
    return vector / (np.linalg.norm(vector, axis=-1, keepdims=True) + DARK)


def fitted(first: np.ndarray, second: np.ndarray, windows: np.ndarray, rounds: int = ROUNDS) -> np.ndarray:
    """The windows [n, 4] of `first` in which it is most like `second`, by Gauss-Newton steps on their correlation.

    first, second: [n, side, side] brightness. windows: where to begin.
    """
    side, aim = first.shape[-1], _standard(second)
    u = ((np.arange(side) + 0.5) / side).astype(np.float32)
    windows = windows.astype(np.float32)
    best, score = windows, np.full(len(first), -1, np.float32)
    for _ in range(rounds):
        seen = _standard(cut(first, windows))
        now = (seen * aim).sum((1, 2))
        best, score = np.where((now > score)[:, None], windows, best), np.maximum(now, score)
        down, across = (g * side for g in np.gradient(seen, axis=(1, 2)))
        down /= (windows[:, 1] - windows[:, 0])[:, None, None]
        across /= (windows[:, 3] - windows[:, 2])[:, None, None]
        slopes = np.stack([down * (1 - u)[:, None], down * u[:, None], across * (1 - u), across * u], axis=1)
        slopes = slopes.reshape(len(first), 4, -1)
        slopes -= slopes.mean(axis=2, keepdims=True)
        square = slopes @ slopes.transpose(0, 2, 1)
        square += np.eye(4) * (1e-3 * square.trace(axis1=1, axis2=2) + 1e-6)[:, None, None]
        moved = np.linalg.solve(square, slopes @ (aim - seen).reshape(len(first), -1, 1))[..., 0]
        low, high = [-NEAR, SMALLEST] * 2, [1 - SMALLEST, 1 + NEAR] * 2
        windows = (windows + moved.clip(-STEP, STEP)).clip(low, high).astype(np.float32)
    now = (_standard(cut(first, windows)) * aim).sum((1, 2))
    return np.where((now > score)[:, None], windows, best)


def likeness(first: np.ndarray, second: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """[n] correlation of the detail (a band of scales) of `second` and of that window of `first`; 1 is the same picture.

    Coarse forms don't count: two photos of like things on white ground share them. The rim doesn't, where blurs end.
    """
    side = first.shape[-1]
    rim = slice(side // 24, side - side // 24)
    one, other = (_standard(_band(p)[:, rim, rim]) for p in (cut(first, windows), second))
    return (one * other).sum((1, 2))


def cut(pictures: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """[n, side, side] -> the same shape: those windows of them, linearly resampled, edges repeated beyond."""
    side = pictures.shape[-1]
    return _resample(windows[:, :2], side) @ pictures @ _resample(windows[:, 2:], side).transpose(0, 2, 1)


def _resample(ends: np.ndarray, side: int) -> np.ndarray:
    """[n, 2] ends of windows, as parts of a side -> [n, side, side] matrices."""
    u = (np.arange(side) + 0.5) / side
    at = ((ends[:, :1] + (ends[:, 1:] - ends[:, :1]) * u) * side - 0.5).clip(0, side - 1)
    return np.maximum(0, 1 - np.abs(at[:, :, None] - np.arange(side))).astype(np.float32)


def _cosines(side: int) -> np.ndarray:
    """[6, side] the orthonormal cosines of lowest frequency (DCT-II)."""
    waves = np.cos(np.pi * np.arange(WAVES)[:, None] * (np.arange(side) + 0.5) / side) * np.sqrt(2 / side)
    waves[0] /= np.sqrt(2)
    return waves.astype(np.float32)


def _weights(waves: int) -> np.ndarray:
    """[waves, waves] of each pair of cosines."""
    return (np.maximum(1, np.hypot(*np.mgrid[:waves, :waves])) ** 1.5).astype(np.float32)


def _standard(pictures: np.ndarray) -> np.ndarray:
    """Mean 0 and length 1, picture by picture; near 0 where it is flat."""
    pictures = pictures - pictures.mean((1, 2), keepdims=True)
    return pictures / (np.sqrt((pictures**2).sum((1, 2), keepdims=True)) + 1)


def _band(pictures: np.ndarray) -> np.ndarray:
    import cv2

    scale = pictures.shape[-1] / 96
    fine, coarse = (
        np.stack([cv2.GaussianBlur(p, (0, 0), s * scale, borderType=cv2.BORDER_REFLECT) for p in pictures])
        for s in (FINE, COARSE)
    )
    return fine - coarse
