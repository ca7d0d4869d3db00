"""Carries out what `levels` has drawn: geometry in one step, colours as one matrix; by cv2 on a core, by torch on a GPU.

The two agree within a few of 255 levels.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from competition.levels import LUMA, Draws

cv2.setNumThreads(0)  # threads are ours to give: one process a core, or prefetch threads
LINEAR = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP  # a picture shrinks to 1 / 1.14 at most: linearly, no pixel is skipped


def on_core(pictures: Sequence[np.ndarray], draws: Draws, out: np.ndarray) -> None:
    """pictures: b times [side, side, 3] uint8. out: [b, size, size, 3] uint8, written."""
    matrices = _pixel_maps(draws, pictures[0].shape[0], out.shape[1])
    boxes, flips, turned = draws.boxes.tolist(), draws.flips.tolist(), draws.turned.tolist()
    for n, picture in enumerate(pictures):
        if turned[n]:
            _turn(picture, matrices[n], out[n])
        else:
            _cut(picture, boxes[n], flips[n], out[n])
        recolour(out[n], draws, n)
        for (x0, y0, x1, y1), fill in zip(draws.holes[n], draws.fills[n], strict=True):
            out[n, y0:y1, x0:x1] = fill


def _pixel_maps(draws: Draws, side: int, size: int) -> np.ndarray:
    """[b, 2, 3]: `draws.maps` between the numbers of pixels, whose middles lie at half of them."""
    maps = draws.maps(side)
    linear = maps[:, :, :2] * (side / size)
    shift = maps[:, :, 2] + maps[:, :, :2].sum(axis=2) * (1 / size - 1)
    return np.concatenate([linear, (side / 2 * (shift + 1) - 0.5)[:, :, None]], axis=2)


def _turn(picture: np.ndarray, matrix: np.ndarray, out: np.ndarray) -> None:
    """A fourth channel makes cv2's warp 2.5 times as fast, its two conversions included (224 px)."""
    four = cv2.cvtColor(picture, cv2.COLOR_RGB2RGBA)
    four = cv2.warpAffine(four, matrix, out.shape[1::-1], flags=LINEAR, borderMode=cv2.BORDER_REFLECT)
    cv2.cvtColor(four, cv2.COLOR_RGBA2RGB, dst=out)


def _cut(picture: np.ndarray, box: Sequence[int], flip: int, out: np.ndarray) -> None:
    x0, y0, x1, y1 = box
    cv2.resize(picture[y0:y1, x0:x1], out.shape[1::-1], dst=out, interpolation=cv2.INTER_LINEAR)
    if flip & 4:
        cv2.transpose(out, dst=out)
    if flip & 3:
        cv2.flip(out, {1: 1, 2: 0, 3: -1}[flip & 3], dst=out)


def recolour(picture: np.ndarray, draws: Draws, n: int) -> None:
    """The n-th draw's colours and blur, of [h, w, 3] uint8 in place."""
    if draws.coloured[n]:
        shift = draws.pivots[n] * (LUMA @ cv2.mean(picture)[:3])
        cv2.transform(picture, np.column_stack([draws.colours[n], [shift] * 3]), dst=picture)
    if draws.sigmas[n]:
        around = _around(draws.sigmas[n])
        kernel = (2 * around + 1, 2 * around + 1)
        cv2.GaussianBlur(picture, kernel, draws.sigmas[n], dst=picture, borderType=cv2.BORDER_REPLICATE)


def _around(sigma: float) -> int:
    return int(3.5 * sigma)


def on_device(pictures: Tensor, draws: Draws, size: int) -> Tensor:
    """[b, side, side, 3] uint8 -> [b, size, size, 3] uint8, where the pictures are."""

    def there(array: np.ndarray) -> Tensor:
        return torch.from_numpy(array.astype(np.float32)).to(pictures.device, non_blocking=True)

    maps = there(draws.maps(pictures.shape[1]))
    grid = functional.affine_grid(maps, [len(draws), 3, size, size], align_corners=False)
    nchw = pictures.permute(0, 3, 1, 2).float()
    seen = functional.grid_sample(nchw, grid, padding_mode="reflection", align_corners=False)
    flat = seen.permute(0, 2, 3, 1).reshape(len(draws), -1, 3)
    shift = (flat.mean(dim=1) @ there(LUMA)) * there(draws.pivots)
    flat = torch.baddbmm(shift[:, None, None], flat, there(draws.colours).transpose(1, 2)).clamp(0, 255)
    made = flat.reshape(len(draws), size, size, 3)
    _blur(made, draws.sigmas)
    return _filled(made.round().byte(), draws)


def _blur(pictures: Tensor, sigmas: np.ndarray) -> None:
    """[b, h, w, 3] float, in place, each by its own sigma: one convolution a direction for all that are blurred."""
    some = np.flatnonzero(sigmas)
    if not len(some):
        return
    around = max(_around(sigma) for sigma in sigmas[some])
    offsets = np.arange(-around, around + 1)
    kernels = np.exp(-0.5 * (offsets / sigmas[some, None]) ** 2)
    kernels *= np.abs(offsets) <= np.array([_around(sigma) for sigma in sigmas[some]])[:, None]
    kernels = np.repeat(kernels / kernels.sum(axis=1, keepdims=True), 3, axis=0).astype(np.float32)
    weights, rows = torch.from_numpy(kernels).to(pictures.device), torch.from_numpy(some).to(pictures.device)
    one = pictures[rows].permute(0, 3, 1, 2).flatten(0, 1)[None]
    across, down = weights[:, None, None], weights[:, None, :, None]
    for weight, margins in ((across, (around, around, 0, 0)), (down, (0, 0, around, around))):
        one = functional.conv2d(functional.pad(one, margins, mode="replicate"), weight, groups=len(kernels))
    pictures[rows] = one[0].unflatten(0, (-1, 3)).permute(0, 2, 3, 1)


def _filled(pictures: Tensor, draws: Draws) -> Tensor:
    """[b, h, w, 3] uint8 with the holes in their colours."""
    if not draws.holes.any():
        return pictures
    size, device = pictures.shape[1], pictures.device
    holes, fills = (torch.from_numpy(part).to(device)[:, :, None, None] for part in (draws.holes, draws.fills))
    place = torch.arange(size, device=device)
    x, y = place[None, None, None, :], place[None, None, :, None]
    inside = (x >= holes[..., 0]) & (x < holes[..., 2]) & (y >= holes[..., 1]) & (y < holes[..., 3])
    for number in range(holes.shape[1]):
        pictures = torch.where(inside[:, number, :, :, None], fills[:, number], pictures)
    return pictures
