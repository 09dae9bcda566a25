"""Outlines of the drawn leaves, and how they become masks with soft edges.

An outline is a list of polygons around the origin, about one unit in radius. A `Stencils` set is drawn
once and then only moved and scaled, because making an outline costs more than filling it.
"""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

WORDS = "the of and LATENT store Open 24h No.7 EXIT 1984 cafe Bus stop Hotel 50% A&B km/h left RIGHT go".split()


def turned(points, angle):
    c, s = np.cos(angle), np.sin(angle)
    return points @ np.array([[c, s], [-s, c]])


def _upright(rng):
    """Man-made edges are upright or level more often than not."""
    if rng.random() < 0.6:
        return rng.normal(0, 0.06) + rng.choice([0, np.pi / 2])
    return rng.uniform(0, np.pi)


def ellipse(rng, count):
    t = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return [turned(np.stack([np.cos(t), np.sin(t) * rng.uniform(0.2, 1.0)], 1), rng.uniform(0, np.pi))]


def rectangle(rng, count):
    aspect = np.exp(rng.uniform(-2.0, 0))
    corners = np.array([[-1, -aspect], [1, -aspect], [1, aspect], [-1, aspect]])
    if rng.random() < 0.4:  # seen at a slant
        corners = corners * (1 + 0.12 * rng.normal(size=(4, 2)))
    return [turned(corners, _upright(rng))]


def polygon(rng, count):
    t = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 9))))
    reach = rng.uniform(0.55, 1.1, t.size)
    points = np.stack([np.cos(t), np.sin(t) * rng.uniform(0.4, 1.0)], 1) * reach[:, None]
    return [turned(points, rng.uniform(0, np.pi))]


def blob(rng, count):
    t = np.linspace(0, 2 * np.pi, count, endpoint=False)
    waves = np.arange(2, count // 3)
    size = rng.normal(0, rng.uniform(0.15, 0.6), waves.size) / waves ** rng.uniform(0.8, 1.6)
    reach = np.exp(size @ np.cos(waves[:, None] * t + rng.uniform(0, 6.3, waves.size)[:, None]))
    points = np.stack([np.cos(t), np.sin(t) * rng.uniform(0.35, 1.0)], 1) * reach[:, None]
    return [turned(points, rng.uniform(0, np.pi))]


def petal(rng, count):
    t = np.linspace(0, np.pi, 3 + count // 4)
    half = np.stack([-np.cos(t), np.sin(t) ** 1.3 * rng.uniform(0.12, 0.5)], 1)
    return [turned(np.concatenate([half, half[::-1] * [1, -1]]), rng.uniform(0, 2 * np.pi))]


def _ribbon(points, widths):
    """A closed outline around a path."""
    along = np.gradient(points, axis=0)
    across = np.stack([-along[:, 1], along[:, 0]], 1)
    across = across / (np.linalg.norm(across, axis=1, keepdims=True) + 1e-6) * (widths / 2)[:, None]
    return np.concatenate([points + across, (points - across)[::-1]])


def _path(rng, start, angle, length, bend, steps):
    """A path that wanders from `start`."""
    turns = angle + np.cumsum(rng.normal(0, bend, steps)) + rng.normal(0, bend) * np.arange(steps)
    return start + np.cumsum(np.stack([np.cos(turns), np.sin(turns)], 1) * (length / steps), 0)


def blade(rng, count):
    """A nearly straight tapering stroke along x: grass, hair, needles."""
    steps = max(4, count // 3)
    points = _path(rng, np.array([-1.0, 0.0]), 0.0, 2.0, rng.choice([0.0, 0.04, 0.12]), steps)
    return [_ribbon(points, np.exp(rng.uniform(-3, -1.5)) * np.linspace(1, 0.2, steps))]


def stroke(rng, count):
    angle = rng.uniform(0, 2 * np.pi)
    steps = max(6, count // 3)
    points = _path(rng, -np.array([np.cos(angle), np.sin(angle)]), angle, 2, rng.choice([0.0, 0.05, 0.25]), steps)
    return [_ribbon(points, np.exp(rng.uniform(-3.8, -1.2)) * np.linspace(1, rng.uniform(0.2, 1.0), steps))]


def ring(rng, count):
    t = np.linspace(0, 2 * np.pi, count)
    points = np.stack([np.cos(t), np.sin(t) * rng.uniform(0.3, 1.0)], 1)
    return [_ribbon(turned(points, rng.uniform(0, np.pi)), np.full(count, rng.uniform(0.04, 0.3)))]


def branches(rng, count):
    parts = []

    def grow(start, angle, length, width, depth):
        points = _path(rng, start, angle, length, 0.12, 7)
        parts.append(_ribbon(points, np.linspace(width, width * 0.6, 7)))
        if depth:
            for _ in range(int(rng.integers(2, 4))):
                at = points[int(rng.integers(2, 7))]
                grow(at, angle + rng.normal(0, 0.6), length * rng.uniform(0.5, 0.8), width * 0.55, depth - 1)

    angle = -np.pi / 2 + rng.normal(0, 0.7)
    grow(-np.array([np.cos(angle), np.sin(angle)]), angle, 1.0, rng.uniform(0.03, 0.12), 3)
    return parts


def tuft(rng, count):
    """Blades from one foot."""
    lean = rng.normal(0, 0.5)
    parts = []
    for _ in range(int(rng.integers(8, 40))):
        foot = np.array([rng.uniform(-1, 1), rng.uniform(0.2, 1)])
        points = _path(rng, foot, -np.pi / 2 + lean + rng.normal(0, 0.25), rng.uniform(0.5, 1.6), 0.06, 6)
        parts.append(_ribbon(points, rng.uniform(0.01, 0.06) * np.linspace(1, 0.1, 6)))
    return parts


def rows(rng, count):
    """A row of equal bars: slats, posts, windows."""
    bars = int(rng.integers(3, 16))
    half_width = rng.uniform(0.2, 0.85) / bars
    half_height = rng.uniform(0.1, 1.0)
    bar = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [half_width, half_height]
    shrink = 1 + rng.uniform(-0.4, 0.4) * np.linspace(-1, 1, bars)
    angle = _upright(rng)
    return [turned(bar * s + [a, 0], angle) for a, s in zip(np.linspace(-1, 1, bars), shrink)]


def lattice(rng, count):
    """Crossing bars: window frames, trusses, fences, rigging."""
    parts = []
    angle = _upright(rng)
    for side in (0.0, rng.choice([np.pi / 2, np.pi / 2, rng.uniform(0.5, 2.5)])):
        bars = int(rng.integers(2, 9))
        half = rng.uniform(0.03, 0.25) / bars
        bar = np.array([[-half, -1], [half, -1], [half, 1], [-half, 1]])
        parts += [turned(bar + [a, 0], angle + side) for a in np.linspace(-1, 1, bars)]
    return parts


def ridge(rng, centre, radius):
    """Everything below a rough line across the frame, in pixels: hills, roofs, a shore, a tree line."""
    xs = np.linspace(-8, 600, 120)
    waves = np.arange(1, 50)
    size = rng.normal(0, 1, waves.size) / waves ** rng.uniform(0.9, 2.0)
    rough = size @ np.sin(waves[:, None] * xs / 100 + rng.uniform(0, 6.3, waves.size)[:, None])
    line = centre[1] + rng.uniform(0, 0.5) * radius * rough + (xs - centre[0]) * rng.normal(0, 0.15)
    return [np.concatenate([np.stack([xs, line], 1), [[600, 900], [-8, 900]]])]


def wires(rng, size):
    """Long thin lines across the frame, in pixels: cables, ropes, masts, seams; parallel or in a fan."""
    angle, slant = _upright(rng), rng.choice([0.0, 0.02, 0.15])
    start = rng.uniform(0, size, 2)
    gap = rng.uniform(3, 50)
    width = np.exp(rng.uniform(np.log(0.6), np.log(5)))
    sag = rng.normal(0, 0.004) * (rng.random() < 0.4)
    parts = []
    for n in range(int(rng.integers(1, 12))):
        x = np.linspace(-size, size, 12)
        line = np.stack([x, sag * x * x / 4 + n * gap], 1)
        parts.append(start + _ribbon(turned(line, angle + n * slant), np.full(12, width)))
    return parts


SOLID = {ellipse: 0.2, rectangle: 0.27, polygon: 0.2, blob: 0.23, petal: 0.1}
THIN = {stroke: 0.4, ring: 0.06, branches: 0.17, tuft: 0.13, rows: 0.14, lattice: 0.1}


class Stencils:
    """Ready outlines: `coarse` ones for leaves of a few pixels, `solid` and `thin` ones for larger leaves."""

    def __init__(self, rng):
        self.coarse = {shape: [shape(rng, 12)[0] for _ in range(40)] for shape in (*SOLID, stroke, blade)}
        self.solid = self._mixed(rng, SOLID, 400)
        self.thin = self._mixed(rng, THIN, 200)
        kinds = rng.choice(len(SOLID), 200, p=list(SOLID.values()))
        self.small = [[list(SOLID)[k](rng, 14)[0]] for k in kinds]

    def _mixed(self, rng, shapes, count):
        kinds = rng.choice(len(shapes), count, p=list(shapes.values()))
        return [list(shapes)[k](rng, 60) for k in kinds]

    def outline(self, rng, centre, radius):
        """The outline in pixels of one leaf."""
        if radius > 60 and rng.random() < 0.25:
            return ridge(rng, centre, radius)
        if rng.random() < 0.2:
            group = self.thin
        else:
            group = self.small if radius < 12 else self.solid
        scale = np.array([radius if rng.random() < 0.5 else -radius, radius])
        return [part * scale + centre for part in group[rng.integers(len(group))]]


def gaussian(image, sigma):
    """Gaussian blur of a Pillow image of 8 bits a channel."""
    # Pillow compares the radius with a tuple, which a NumPy number turns into an array.
    return image.filter(ImageFilter.GaussianBlur(float(sigma)))


def soften(mask, sigma):
    """Gaussian blur of a float array in 0..1."""
    image = Image.fromarray(np.clip(mask * 255, 0, 255).astype(np.uint8))
    return np.asarray(gaussian(image, sigma), np.float32) * (1 / 255)


def rasterise(parts, size, blur):
    """(y, x, mask in 0..1) of the part of an outline inside a size x size frame, or None.

    Drawn at 2x or 4x and averaged, so that edges are as soft as a camera's.
    """
    points = parts[0] if len(parts) == 1 else np.concatenate(parts)
    pad = 1 + int(2.5 * blur)
    (left, top), (right, bottom) = points.min(0).tolist(), points.max(0).tolist()
    x0, y0 = max(int(left) - pad, 0), max(int(top) - pad, 0)
    x1, y1 = min(int(right) + 1 + pad, size), min(int(bottom) + 1 + pad, size)
    if x1 <= x0 or y1 <= y0:
        return None
    scale = 4 if max(x1 - x0, y1 - y0) < 40 else 2
    image = Image.new("L", ((x1 - x0) * scale, (y1 - y0) * scale))
    pen = ImageDraw.Draw(image)
    for part in parts:
        pen.polygon(((part - (x0, y0)) * scale - 0.5).ravel().tolist(), fill=255)
    image = image.reduce(scale)
    if blur > 0:
        image = gaussian(image, blur)
    return y0, x0, np.asarray(image, np.float32) * (1 / 255)


_FONTS = {}


def text(rng, size):
    """(y, x, mask) of a few lines of letters somewhere in the frame."""
    height = int(np.exp(rng.uniform(np.log(7), np.log(90))))
    if height not in _FONTS:
        _FONTS[height] = ImageFont.load_default(size=2 * height)
    lines = [" ".join(rng.choice(WORDS, int(rng.integers(1, 6)))) for _ in range(int(rng.integers(1, 6)))]
    image = Image.new("L", (2 * size, 2 * size))
    at = (rng.uniform(-0.3, 1.4) * size, rng.uniform(0, 1.7) * size)
    pen = ImageDraw.Draw(image)
    pen.multiline_text(at, "\n".join(lines), fill=255, font=_FONTS[height], spacing=height * rng.uniform(0.2, 1.2))
    if rng.random() < 0.4:
        image = image.rotate(rng.normal(0, 15), Image.Resampling.BILINEAR)
    return 0, 0, np.asarray(image.reduce(2), np.float32) * (1 / 255)
