"""The resize that the pretrained networks were made for, written anew in numpy."""

from __future__ import annotations

import numpy as np


def legacy_bilinear(picture: np.ndarray, size: int) -> np.ndarray:
    """TensorFlow 1's resize_bilinear: corners not aligned, no half-pixel centres, no antialias."""

    def places(length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        at = np.arange(size) * (length / size)
        low = np.floor(at).astype(int)
        return low, np.minimum(low + 1, length - 1), at - low

    top, bottom, down = places(picture.shape[0])
    left, right, across = places(picture.shape[1])
    across, down = across[None, :, None], down[:, None, None]
    upper = picture[top][:, left] * (1 - across) + picture[top][:, right] * across
    lower = picture[bottom][:, left] * (1 - across) + picture[bottom][:, right] * across
    return upper * (1 - down) + lower * down
