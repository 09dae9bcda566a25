"""Colours of one drawn image: mostly grey differences, a few related hues, seldom an accent.

Photographs carry about ten times more variance in brightness than in colour, so colours are drawn
as a brightness plus a small (Cb, Cr) step instead of as three free channels.
"""

import numpy as np

# RGB per unit of Y, Cb and Cr (ITU-R BT.601, the matrix of JPEG).
CB = np.array([0.0, -0.344136, 1.772], np.float32)
CR = np.array([1.402, -0.714136, 0.0], np.float32)
GREY = np.ones(3, np.float32)


class Palette:
    """The hues, saturation and brightness range that the parts of one image share."""

    def __init__(self, rng):
        # Skin, wood, earth and sand; sky and shade; leaves: three hues are far more frequent than the rest.
        anchors = rng.choice([2.25, -0.5, 3.75], 4, p=[0.45, 0.3, 0.25]) + rng.normal(0, 0.3, 4)
        free = rng.uniform(0, 2 * np.pi, 4)
        self.hues = np.where(rng.random(4) < 0.82, anchors, free)[: int(rng.integers(1, 5))]
        self.saturation = float(np.clip(rng.lognormal(np.log(19.0), 0.6), 0.0, 55.0))
        self.accents = 0.12 if rng.random() < 0.35 else 0.015
        low, high = np.sort(rng.uniform(0, 255, 2))
        if rng.random() < 0.75:
            low, high = rng.uniform(0, 60), rng.uniform(180, 255)
        self.low, self.high = float(low), float(high)
        # Some scenes are mostly dark or mostly bright.
        self.skew = float(rng.lognormal(0.0, 0.45))

    def chroma(self, rng):
        """A (Cb, Cr) step."""
        hue = self.hues[rng.integers(len(self.hues))] + rng.normal(0, 0.15)
        radius = self.saturation * rng.rayleigh(0.8)
        if rng.random() < self.accents:
            hue, radius = rng.uniform(0, 2 * np.pi), rng.uniform(30, 85)
        return radius * np.cos(hue), radius * np.sin(hue)

    def luma(self, rng):
        """A brightness between 0 and 255."""
        return self.low + (self.high - self.low) * rng.random() ** self.skew

    def colour(self, rng):
        """An RGB colour; it may leave 0..255, as a light source does."""
        cb, cr = self.chroma(rng)
        y = self.luma(rng)
        # Dark surfaces show less colour.
        keep = 0.35 + 0.65 * min(1.0, y / 110.0)
        return (y * GREY + keep * (cb * CB + cr * CR)).astype(np.float32)

    def near(self, rng, colour, spread):
        """A colour related to `colour`: another brightness, nearly the same hue."""
        step = rng.normal(0, spread) * GREY
        step = step + rng.normal(0, 0.18 * spread) * CB + rng.normal(0, 0.18 * spread) * CR
        return (colour + step).astype(np.float32)
