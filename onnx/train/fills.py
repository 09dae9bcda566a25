"""What the drawn leaves are filled with: gradients, noise, regular patterns, clutter.

A fill is a float RGB array of its leaf's bounding box. Textures are cut from tiles that are made once
per `Bank`, because a cut costs microseconds where a new noise field costs milliseconds.
"""

import numpy as np
from PIL import Image, ImageDraw

from palette import CB, CR
from shapes import Stencils, blade, blob, ellipse, petal, polygon, rectangle, turned

TILE = 512
STEPS = np.arange(TILE, dtype=np.float32)


def noise_tile(rng):
    """A periodic noise field with a power-law spectrum, mean 0 and deviation 1."""
    fy = np.fft.fftfreq(TILE)[:, None].astype(np.float32)
    fx = np.fft.rfftfreq(TILE)[None].astype(np.float32)
    stretch = np.exp(abs(rng.normal(0, 0.9))) if rng.random() < 0.6 else 1.0
    angle = rng.choice([0, 0, np.pi / 2, rng.uniform(0, np.pi)])
    u = (np.cos(angle) * fx + np.sin(angle) * fy) / stretch
    v = -np.sin(angle) * fx + np.cos(angle) * fy
    power = rng.uniform(0.5, 2.0)
    # Below this frequency the spectrum is flat: the size of the largest grains.
    knee = np.exp(rng.uniform(np.log(0.002), np.log(0.12)))
    spectrum = (u * u + v * v + knee * knee) ** (-power / 2)
    spectrum[0, 0] = 0
    phase = np.exp(2j * np.pi * rng.random(spectrum.shape, np.float32)).astype(np.complex64)
    field = _standard(np.fft.irfft2(spectrum * phase, (TILE, TILE)))
    kind = rng.integers(6)
    if kind == 0:  # ridges: cracks, veins, waves
        field = -np.abs(field - rng.normal(0, 0.5))
    elif kind == 1:  # patches with edges: bark, rust, rock
        field = np.tanh(field * rng.uniform(2, 10))
    elif kind == 2:  # rare highlights: glitter, foam
        field = np.exp(np.clip(field, -3, 3) * rng.uniform(0.5, 1.1))
    elif kind == 3:  # contrast that itself varies from place to place
        field = field * np.exp(np.clip(0.9 * np.roll(_smooth(field), TILE // 3, 0), -2, 2))
    return _standard(field)


def _standard(field):
    field = field - field.mean()
    return (field / (field.std() + 1e-6)).astype(np.float32)


def _smooth(field):
    small = field.reshape(16, TILE // 16, 16, TILE // 16).mean((1, 3))
    return _standard(np.asarray(Image.fromarray(np.tile(small, (1, 1))).resize((TILE, TILE), Image.Resampling.BICUBIC)))


def clutter_tile(rng, stencils):
    """Thousands of small parts in front of each other: foliage, gravel, grass, fur, flowers.

    Three planes: brightness and two independent numbers of each part, all about -1..1.
    """
    side = TILE * 3 // 2
    image = Image.new("RGB", (side, side), (60, 128, 128))
    pen = ImageDraw.Draw(image)
    long, lit = rng.random() < 0.35, rng.random() < 0.5
    radius = np.exp(rng.uniform(np.log(2.5), np.log(16)))
    spread = rng.choice([0.15, 0.5, 0.9])
    count = int(np.clip(1.6 * side * side / (3 * radius * radius), 300, 5000))
    lean, disorder = rng.uniform(0, 2 * np.pi), rng.uniform(0.01, 0.5)
    depth_shade = rng.uniform(0, 150)
    jitter = rng.uniform(10, 60)
    solid = (petal, polygon, blob, ellipse, rectangle)[int(rng.choice(5, p=[0.4, 0.2, 0.15, 0.2, 0.05]))]
    outlines = stencils.coarse[blade if long else solid]
    for n in range(count):
        centre = rng.uniform(0, side, 2)
        r = radius * np.exp(rng.normal(0, spread))
        part = outlines[rng.integers(len(outlines))]
        if long:
            r = r * 3
            part = turned(part, lean + rng.normal(0, disorder))
        luma = 128 + depth_shade * (n / count - 0.6) + rng.normal(0, jitter)
        shade = [min(255, max(0, int(c))) for c in (luma, rng.normal(128, 40), rng.normal(128, 40))]
        pen.polygon((part * r + centre).ravel().tolist(), fill=tuple(shade))
        if lit and r > 4:
            shade[0] = min(255, shade[0] + 22)
            pen.polygon((part * (0.6 * r) + (centre - 0.15 * r)).ravel().tolist(), fill=tuple(shade))
    shrunk = image.resize((TILE, TILE), Image.Resampling.BOX)
    planes = np.asarray(shrunk, np.float32).transpose(2, 0, 1) / 64 - 2
    planes[0] = planes[0] - planes[0].mean()
    return np.ascontiguousarray(planes)


class Bank:
    """The textures that one run of images draws from."""

    def __init__(self, rng, noises=36, clutters=14):
        self.noises = [noise_tile(rng) for _ in range(noises)]
        self.stencils = Stencils(rng)
        self.clutters = [clutter_tile(rng, self.stencils) for _ in range(clutters)]
        self.scenes = []

    def cut(self, rng, tile, height, width):
        """A random window of a tile, sometimes turned over."""
        if rng.random() < 0.5:
            tile = tile.swapaxes(-1, -2)
        y = rng.integers(0, TILE - height + 1)
        x = rng.integers(0, TILE - width + 1)
        tile = tile[..., y : y + height, x : x + width]
        if rng.random() < 0.5:
            tile = tile[..., ::-1]
        return tile

    def noise(self, rng, height, width):
        return self.cut(rng, self.noises[rng.integers(len(self.noises))], height, width)


def ramp(rng, height, width):
    """A field that goes from about -1 to 1 across the box: a straight or a round gradient."""
    y = (STEPS[:height] * np.float32(2 / height) - 1)[:, None]
    x = (STEPS[:width] * np.float32(2 / width) - 1)[None]
    if rng.random() < 0.6:
        angle = rng.uniform(0, 2 * np.pi)
        return np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y
    cy, cx = rng.normal(0, 0.6, 2).astype(np.float32)
    return 1 - ((x - cx) ** 2 + (y - cy) ** 2) * np.float32(rng.uniform(0.5, 1.2))


def flat(rng, bank, palette, height, width):
    return np.broadcast_to(palette.colour(rng), (height, width, 3))


def gradient(rng, bank, palette, height, width):
    field = ramp(rng, height, width)
    colour = palette.colour(rng)
    step = palette.near(rng, np.zeros(3, np.float32), np.exp(rng.uniform(np.log(4), np.log(60))))
    return colour + field[..., None] * step


def noise(rng, bank, palette, height, width):
    colour = palette.colour(rng)
    strength = np.exp(rng.uniform(np.log(3), np.log(45)))
    step = palette.near(rng, np.float32(strength) * np.ones(3, np.float32), 0.15 * strength)
    field = colour + bank.noise(rng, height, width)[..., None] * step
    if rng.random() < 0.4:
        field = field + bank.noise(rng, height, width)[..., None] * (rng.normal(0, 0.2 * strength) * CB + rng.normal(0, 0.2 * strength) * CR).astype(np.float32)
    if rng.random() < 0.3:
        field = field + bank.noise(rng, height, width)[..., None] * np.float32(strength * rng.uniform(0.2, 0.8))
    return field


def mixture(rng, bank, palette, height, width):
    """Two colours in patches."""
    field = bank.noise(rng, height, width) * np.float32(np.exp(rng.uniform(0, 2.2))) + np.float32(rng.normal())
    share = 1 / (1 + np.exp(-np.clip(field, -20, 20)))
    first = palette.colour(rng)
    second = palette.near(rng, first, rng.uniform(10, 60)) if rng.random() < 0.6 else palette.colour(rng)
    return first + share[..., None] * (second - first)


def clutter(rng, bank, palette, height, width):
    planes = bank.cut(rng, bank.clutters[rng.integers(len(bank.clutters))], height, width)
    strength = np.exp(rng.uniform(np.log(12), np.log(75)))
    matrix = np.stack(
        [
            palette.near(rng, np.float32(strength) * np.ones(3, np.float32), 0.12 * strength),
            0.2 * strength * rng.normal() * CB + 0.2 * strength * rng.normal() * CR,
            0.12 * strength * rng.normal() * CB + 0.12 * strength * rng.normal() * CR,
        ]
    ).astype(np.float32)
    return palette.colour(rng) + planes.transpose(1, 2, 0) @ matrix


def scene(rng, bank, palette, height, width):
    """A piece of another drawn image, so that leaves contain things as a photograph's objects do."""
    if not bank.scenes:
        return noise(rng, bank, palette, height, width)
    source = bank.scenes[rng.integers(len(bank.scenes))]
    zoom = rng.uniform(1.0, 2.2)
    high, wide = min(source.height, int(height * zoom) + 1), min(source.width, int(width * zoom) + 1)
    y, x = int(rng.integers(0, source.height - high + 1)), int(rng.integers(0, source.width - wide + 1))
    piece = source.resize((width, height), Image.Resampling.BILINEAR, (x, y, x + wide, y + high), reducing_gap=1.5)
    piece = np.asarray(piece, np.float32)
    tone = palette.near(rng, np.ones(3, np.float32), 0.15) * np.float32(rng.uniform(0.4, 1.2))
    return piece * tone + np.float32(rng.uniform(-30, 50))


def _waves(rng, kind, phase, sharp):
    """A periodic profile of `phase` (whole numbers are periods) between -1 and 1."""
    if kind == 0:
        return np.sin(2 * np.pi * phase)
    if kind == 1:
        return np.clip((np.abs(2 * (phase % 1) - 1) - rng.uniform(0.15, 0.85)) * sharp, -1, 1)
    # Bands of unequal brightness: planks, books, columns, slats.
    steps = rng.normal(0, 0.7, 64).astype(np.float32)
    cell = np.floor(phase)
    rest = phase - cell
    here = steps[cell.astype(int) % 64]
    gap = np.clip((np.minimum(rest, 1 - rest) - rng.uniform(0, 0.15)) * sharp, -1, 0)
    return here + gap * rng.uniform(0, 2)


def pattern(rng, bank, palette, height, width):
    """Regular structure under a slight perspective: stripes, fabric, brick, tiles, windows, dots."""
    y = np.arange(height, dtype=np.float32)[:, None] - height / 2
    x = np.arange(width, dtype=np.float32)[None] - width / 2
    angle = rng.normal(0, 0.06) + rng.choice([0, np.pi / 2]) if rng.random() < 0.65 else rng.uniform(0, np.pi)
    period = np.exp(rng.uniform(np.log(2.5), np.log(60)))
    tilt = rng.normal(0, 0.0012, 2) if rng.random() < 0.6 else (0.0, 0.0)
    depth = np.clip(1 + tilt[0] * x + tilt[1] * y, 0.3, 3)
    u = ((np.cos(angle) * x + np.sin(angle) * y) / (depth * period) + rng.random()).astype(np.float32)
    v = ((np.cos(angle) * y - np.sin(angle) * x) / (depth * period * np.exp(rng.normal(0, 0.5))) + rng.random()).astype(np.float32)
    if rng.random() < 0.35:  # folds and warped surfaces
        u = u + bank.noise(rng, height, width) * np.float32(0.12)
    sharp = np.float32(period * rng.choice([0.5, 1.0, 1.0]))
    kind = rng.integers(7)
    profile = int(rng.integers(3))
    if kind <= 1:
        field = _waves(rng, profile, u, sharp)
    elif kind == 2:  # woven and plaid
        field = _waves(rng, profile, u, sharp) * 0.6 + _waves(rng, int(rng.integers(3)), v, sharp) * 0.6
    elif kind == 3:  # check
        field = np.clip(np.sin(2 * np.pi * u) * np.sin(2 * np.pi * v) * sharp * 0.5, -1, 1)
    elif kind == 4:  # brick, roof tiles, paving
        row = np.floor(v)
        column = u * 0.5 + 0.5 * (row % 2)
        gap = np.minimum(np.minimum(v - row, 1 - (v - row)), 2 * np.minimum(column % 1, 1 - column % 1))
        shade = rng.normal(0, 0.35, 97).astype(np.float32)[(row * 13 + np.floor(column) * 7).astype(int) % 97]
        field = shade + np.clip((gap - rng.uniform(0.03, 0.12)) * sharp, -1.2, 0)
    elif kind == 5:  # windows: each cell has a brightness and a frame
        inside = np.maximum(np.abs(u % 1 - 0.5), np.abs(v % 1 - 0.5) * rng.uniform(0.6, 1.3))
        shade = rng.normal(-0.6, 0.5, 89).astype(np.float32)[(np.floor(v) * 17 + np.floor(u) * 5).astype(int) % 89]
        field = 0.7 + (shade - 0.7) * np.clip((rng.uniform(0.2, 0.45) - inside) * sharp + 0.5, 0, 1)
    else:  # dots, holes, mesh
        distance = np.sqrt((u % 1 - 0.5) ** 2 + (v % 1 - 0.5) ** 2)
        field = np.clip((rng.uniform(0.15, 0.55) - distance) * sharp, -1, 1)
    strength = np.exp(rng.uniform(np.log(6), np.log(75)))
    if rng.random() < 0.3:
        strength = strength * (0.6 + 0.3 * bank.noise(rng, height, width))[..., None]
    colour = palette.colour(rng)
    step = palette.near(rng, np.ones(3, np.float32), 0.12)
    return (colour + field[..., None] * (strength * step)).astype(np.float32)


KINDS = (flat, gradient, noise, mixture, clutter, scene, pattern)
WEIGHTS = np.array([0.1, 0.18, 0.24, 0.1, 0.13, 0.11, 0.14])


def fill(rng, bank, palette, height, width):
    """A fill for a leaf, shaded as a surface in light is."""
    area = KINDS[rng.choice(len(KINDS), p=WEIGHTS)](rng, bank, palette, height, width)
    if rng.random() < 0.45:
        light = 1 + np.float32(rng.uniform(0.05, 0.5)) * ramp(rng, height, width)
        area = area * light[..., None]
    if rng.random() < 0.45:  # hardly any surface is quite smooth
        texture = bank.noise(rng, height, width) * np.float32(np.exp(rng.uniform(np.log(1.5), np.log(14))))
        area = area + texture[..., None]
    return area


def small_fill(rng, colour, height, width):
    """A fill for a leaf of a few pixels: one colour, at times shaded."""
    if rng.random() < 0.4:
        return colour + (ramp(rng, height, width) * np.float32(rng.normal(0, 25)))[..., None]
    return colour
