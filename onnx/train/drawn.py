"""Draws training images that share the statistics of photographs: seeded, from nothing on disk.

The frame is a "dead leaves" model: opaque leaves whose sizes follow a power law (about r^-3) hide each
other, which gives edges, occlusion and the 1/f spectrum of natural scenes at every scale. On top come
what makes photographs differ: texture, light, shadow, focus, haze, text, sharpening, grain.

As a program it writes raw images to standard output for ever, so that a trainer can start one
process per core without any of them importing a training framework:

    python3 drawn.py --seed 7 --size 320
"""

import argparse
import sys

import numpy as np
from PIL import Image, ImageDraw

import fills
from palette import CB, CR, GREY, Palette
from shapes import blob, ellipse, gaussian, petal, polygon, rasterise, soften, stroke, text, wires

SIZE = 320
# Textures are made anew after this many images of one seed.
BANK_IMAGES = 4096
BANK_SCENES = 24


class Painter:
    """image(index) is a uint8 array [size, size, 3] that depends on (seed, index, size) only."""

    def __init__(self, seed, size=SIZE):
        self.seed, self.size = seed, size
        self.bank_index = None

    def image(self, index):
        if self.bank_index != index // BANK_IMAGES:
            self.bank_index = index // BANK_IMAGES
            rng = np.random.default_rng([self.seed, 1, self.bank_index])
            self.bank = fills.Bank(rng)
            # These are drawn while the bank has no scenes yet, and then become fills themselves.
            self.bank.scenes = [Image.fromarray(draw(rng, self.bank, self.size)) for _ in range(BANK_SCENES)]
        return draw(np.random.default_rng([self.seed, 0, index]), self.bank, self.size)


def draw(rng, bank, size):
    """One image."""
    palette = Palette(rng)
    canvas = np.empty((size, size, 3), np.float32)
    canvas[:] = _background(rng, bank, palette, size)
    _paint_leaves(rng, bank, palette, canvas)
    if rng.random() < 0.2:
        placed = rasterise(wires(rng, size), size, 0.0)
        if placed is not None:
            _blend(canvas, placed, palette.colour(rng))
    if rng.random() < 0.12:
        for _ in range(int(rng.integers(1, 4))):
            _blend(canvas, text(rng, size), palette.colour(rng))
    _light(rng, bank, canvas)
    return _camera(rng, canvas)


def _background(rng, bank, palette, size):
    if rng.random() < 0.3:  # a sky: smooth, bright, brightest towards one side
        colour = palette.colour(rng) * 0.3 + 150
        area = colour + fills.ramp(rng, size, size)[..., None] * palette.near(rng, np.zeros(3, np.float32), 25)
        if rng.random() < 0.5:  # clouds
            area = area + np.maximum(bank.noise(rng, size, size), 0)[..., None] * np.float32(rng.uniform(3, 30))
        return area
    return fills.fill(rng, bank, palette, size, size)


def _blend(canvas, placed, colour, opacity=1.0):
    y, x, mask = placed
    view = canvas[y : y + mask.shape[0], x : x + mask.shape[1]]
    view += (mask * np.float32(opacity))[..., None] * (colour - view)


def _radii(rng, size):
    """Leaf sizes from large to small, with some disorder: equal cover per octave on average."""
    busy = rng.uniform(0.05, 1.0) * rng.choice([0.3, 0.6, 1.0])
    slope = rng.normal(-0.15, 0.35)
    radii = []
    for octave, low in enumerate((160, 80, 40, 20, 10, 5)):
        low = low * size / SIZE
        cover = busy * 0.5 * np.exp(rng.normal(0, 0.5) + slope * (octave - 2.5))
        if octave < 2:
            cover = cover + 0.35
        count = rng.poisson(min(cover, 1.6) * size * size / (2.2 * low * low))
        radii.append(low * 2 ** rng.random(min(count, 150)))
    radii = np.concatenate(radii)
    return radii[np.argsort(-np.log(radii) + rng.normal(0, 0.6, radii.size))]


def _paint_leaves(rng, bank, palette, canvas):
    size = canvas.shape[0]
    radii = _radii(rng, size)
    centres = rng.uniform(-0.1, 1.1, (radii.size, 2)) * size
    if rng.random() < 0.35:  # small things gather, and leave calm areas
        heap = rng.uniform(0, size, (int(rng.integers(1, 5)), 2))
        gathered = heap[rng.integers(len(heap), size=radii.size)] + rng.normal(0, rng.uniform(0.08, 0.3) * size, (radii.size, 2))
        centres = np.where((radii < 40)[:, None], gathered, centres)
    edge_blur = rng.choice([0.0, 0.0, 0.4, 1.2])
    shadows = rng.choice([0.0, 0.3])
    scatter_at = set(rng.integers(0, radii.size + 1, rng.poisson(0.7)).tolist())
    # Small things mostly look like what they lie on: contrast falls with size.
    contrast, kinship = np.exp(rng.uniform(np.log(6), np.log(70))), rng.choice([0.3, 0.8, 1.0])
    # What is painted before this leaf lies behind the depth of field.
    focus_at = rng.integers(0, radii.size + 1) if rng.random() < 0.22 else -1
    for n, (radius, centre) in enumerate(zip(radii, centres)):
        if n in scatter_at:
            _scatter(rng, bank, palette, canvas)
        if n == focus_at:
            canvas[:] = _blurred(canvas, np.exp(rng.uniform(0, 2)))
        blur = edge_blur * rng.exponential() if rng.random() < 0.5 else 0.0
        if radius > 30 and rng.random() < 0.15:
            blur = rng.uniform(1, 0.12 * radius)
        placed = rasterise(bank.stencils.outline(rng, centre, radius), size, blur)
        if placed is None:
            continue
        if radius > 8 and rng.random() < shadows:
            _shade_below(rng, canvas, placed, radius)
        height, width = placed[2].shape
        if radius < 12:
            colour = palette.colour(rng)
            if rng.random() < kinship:
                colour = palette.near(rng, canvas[placed[0] + height // 2, placed[1] + width // 2], contrast)
            area = fills.small_fill(rng, colour, height, width)
        else:
            area = fills.fill(rng, bank, palette, height, width)
        _blend(canvas, placed, area, rng.uniform(0.3, 1.0) if rng.random() < 0.12 else 1.0)
        if radius > 20 and rng.random() < 0.25:
            _rim(rng, canvas, placed, palette)


def _shade_below(rng, canvas, placed, radius):
    """A soft shadow beside the leaf that is about to be painted."""
    y, x, mask = placed
    shift = rng.normal(0, 0.25 * radius, 2).astype(int)
    y0, x0 = max(0, y + shift[0]), max(0, x + shift[1])
    view = canvas[y0 : y0 + mask.shape[0], x0 : x0 + mask.shape[1]]
    soft = soften(mask, 0.5 + rng.uniform(0.02, 0.2) * radius)[: view.shape[0], : view.shape[1]]
    view *= 1 - np.float32(rng.uniform(0.2, 0.7)) * soft[..., None]


def _rim(rng, canvas, placed, palette):
    """A thin dark or bright line along the outline, as bevels and outlines have."""
    y, x, mask = placed
    edge = 4 * mask * (1 - mask)
    _blend(canvas, (y, x, edge), palette.colour(rng), rng.uniform(0.3, 1.0))


def _scatter(rng, bank, palette, canvas):
    """Hundreds of parts of 1 to 6 pixels in one go, over the frame or over a patch of it."""
    size = canvas.shape[0]
    side = int(size * rng.choice([0.3, 0.5, 0.8, 1.0]))
    y, x = rng.integers(0, size - side + 1, 2)
    radius = np.exp(rng.uniform(np.log(1.0), np.log(4.0)))
    count = int(min(rng.uniform(0.05, 0.6) * side * side / (3 * radius * radius), 500))
    outlines = bank.stencils.coarse[(blob, ellipse, polygon, petal, stroke)[rng.integers(5)]]
    middle = canvas[y + side // 2, x + side // 2]
    colours = [palette.colour(rng) for _ in range(int(rng.integers(1, 4)))] + [palette.near(rng, middle, 30) for _ in range(3)]
    image = Image.new("RGBA", (2 * side, 2 * side), (*np.clip(middle, 0, 255).astype(int).tolist(), 0))
    pen = ImageDraw.Draw(image)
    if rng.random() < 0.5:
        at = rng.uniform(0, 2 * side, (count, 2))
    else:
        at = side * (1 + rng.uniform(0.12, 0.5) * rng.normal(size=(count, 2)))
    scale = 2 * radius * np.exp(rng.normal(0, 0.5, count))
    tones = np.array(colours)[rng.integers(len(colours), size=count)] + rng.normal(0, rng.uniform(0, 40), (count, 1))
    tones = np.clip(tones, 0, 255).astype(int).tolist()
    for n, kind in enumerate(rng.integers(len(outlines), size=count)):
        pen.polygon((outlines[kind] * scale[n] + at[n]).ravel().tolist(), fill=(*tones[n], 255))
    layer = np.asarray(image.reduce(2), np.float32)
    _blend(canvas, (int(y), int(x), layer[..., 3] * (1 / 255)), layer[..., :3])


def _light(rng, bank, canvas):
    """Light that changes across the frame, cast shadows, haze."""
    size = canvas.shape[0]
    if rng.random() < 0.5:
        canvas *= 1 + np.float32(rng.uniform(0.05, 0.4)) * fills.ramp(rng, size, size)[..., None]
    if rng.random() < 0.2:
        field = bank.noise(rng, size, size) * np.float32(np.exp(rng.uniform(0, 2)))
        shadow = 1 / (1 + np.exp(-np.clip(field + rng.normal(), -20, 20)))
        canvas *= 1 - np.float32(rng.uniform(0.2, 0.6)) * soften(shadow, rng.uniform(0.5, 6))[..., None]
    if rng.random() < 0.15:
        haze = np.clip(0.5 + 0.5 * fills.ramp(rng, size, size), 0, 1)[..., None] * np.float32(rng.uniform(0.1, 0.6))
        canvas += haze * (np.float32(rng.uniform(120, 240)) - canvas)


def _blurred(canvas, sigma):
    image = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))
    return np.asarray(gaussian(image, sigma), np.float32)


def _camera(rng, canvas):
    """Tone, lens, sharpening and grain; the result is what a photograph's file would hold."""
    size = canvas.shape[0]
    if rng.random() < 0.6:  # exposure: spread the tones over the range, at times past its ends
        luma = canvas[::4, ::4].mean(2)
        low, high = np.percentile(luma, [rng.uniform(0.1, 4), 100 - rng.uniform(0.1, 4)])
        to_low, to_high = rng.uniform(-10, 50), rng.uniform(180, 262)
        gain = min((to_high - to_low) / max(high - low, 20), 2.5)
        canvas = (canvas - low) * np.float32(gain) + np.float32(to_low)
    canvas = np.clip(canvas, -20, 275)
    image = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))
    lens = abs(rng.normal(0, 0.55))
    if rng.random() < 0.06:
        lens = rng.uniform(1, 3)
    if lens > 0.15:
        image = gaussian(image, lens)
    # Cameras and files keep colour less finely than brightness.
    y, cb, cr = image.convert("YCbCr").split()
    if rng.random() < 0.75:
        sigma = rng.uniform(0.5, 2.0)
        cb, cr = gaussian(cb, sigma), gaussian(cr, sigma)
    blurred = gaussian(y, rng.uniform(0.6, 1.5))
    y = np.asarray(y, np.float32)
    if rng.random() < 0.4:
        y = y + np.float32(rng.uniform(0.2, 1.2)) * (y - np.asarray(blurred, np.float32))
    if rng.random() < 0.5:
        grain = rng.standard_normal((size, size), np.float32) * np.float32(rng.exponential(2.0))
        if rng.random() < 0.5:  # film grain is coarser than a sensor's noise
            grain = grain + np.roll(grain, 1, 0)
            grain = (grain + np.roll(grain, 1, 1)) / 2
        y = y + grain
    cb, cr = np.asarray(cb, np.float32) - 128, np.asarray(cr, np.float32) - 128
    cast_b, cast_r = rng.normal(0, 3, 2)
    keep = np.float32(rng.choice([0.0, rng.uniform(0.3, 0.9), 1.0, 1.0], p=[0.03, 0.37, 0.3, 0.3]))
    rgb = y[..., None] * GREY
    rgb += (cb * keep + np.float32(cast_b))[..., None] * CB
    rgb += (cr * keep + np.float32(cast_r))[..., None] * CR
    return np.clip(np.rint(rgb), 0, 255).astype(np.uint8)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--first", type=int, default=0, help="index of the first image")
    args = parser.parse_args()
    painter = Painter(args.seed, args.size)
    index = args.first
    try:
        while True:
            sys.stdout.buffer.write(painter.image(index).tobytes())
            index += 1
    except BrokenPipeError:
        # The reader has what it needs; the interpreter must not flush into the closed pipe on its way out.
        sys.stderr.close()
        sys.stdout = None


if __name__ == "__main__":
    main()
