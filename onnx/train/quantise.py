"""Kernels in 8 bits: what keeps two autoencoders in the program below the size that a crate may have.

The f16 scale of each output is the one of several whose kernel is nearest to the trained one.
"""

import numpy as np

LEVELS = 127
# The largest weight of an output may be cut to this share of itself, so that the others get finer steps.
SHARES = np.linspace(0.6, 1.0, 41)


def quantise(kernel):
    """f32 [O, I, h, w] to int8 of the same shape and f16 [O, 1, 1, 1], whose product is near it."""
    rows = kernel.reshape(len(kernel), -1).astype(np.float64)
    largest = np.abs(rows).max(1, keepdims=True)
    best, error = None, np.full(len(rows), np.inf)
    for share in SHARES:
        scale = np.maximum(largest * share / LEVELS, 2.0**-14).astype(np.float16)
        levels = np.clip(np.rint(rows / scale.astype(np.float64)), -LEVELS, LEVELS)
        distance = ((levels * scale.astype(np.float64) - rows) ** 2).sum(1)
        if best is None:
            best = levels, scale
        nearer = distance < error
        error = np.where(nearer, distance, error)
        best = tuple(np.where(nearer[:, None], new, old) for new, old in zip((levels, scale), best))
    levels, scale = best
    return levels.astype(np.int8).reshape(kernel.shape), scale.astype(np.float16).reshape(-1, 1, 1, 1)
