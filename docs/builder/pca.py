"""Principal component analysis: the plane in which vectors differ most."""

from collections.abc import Sequence

import numpy as np


def in_the_plane(vectors: Sequence[Sequence[float]]) -> tuple[list[list[float]], float]:
    """Return the place of each vector in that plane, and the share of their variance that is seen there."""
    centered = np.array(vectors, dtype=float)
    centered -= centered.mean(axis=0)
    # The directions in which the points differ most are the first right singular vectors.
    _, sizes, directions = np.linalg.svd(centered, full_matrices=False)
    places: list[list[float]] = (centered @ directions[:2].T).round(4).tolist()
    return places, float((sizes[:2] ** 2).sum() / (sizes**2).sum())
