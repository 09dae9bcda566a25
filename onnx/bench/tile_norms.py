"""Which statistics norms should be given in tiles: the ways that were tried, in torch, as docs/tiles.md has them.

    python3 onnx/bench/tile_norms.py SHARED [--kl DIR] [--tile 512] [--overlap 128] [--half]

SHARED holds `models/taef2` and `images/kodak`. The model is TAEF2, or with --kl an AutoencoderKL in diffusers' form. The
image is four Kodak photos beside each other, 1536x1024, or with --half the middle of it, 768x512. Needs torch, diffusers
and Pillow.

Each norm can be told its mean and variance. They come from
- plain: nowhere; each tile takes its own;
- downscaled: the image, or the latent, reduced to the size of a tile;
- tiles: what each tile takes, pooled; "tiles twice" runs them once more with that and pools again;
- sample: one mosaic of 2x2 crops;
- mosaics: crops of half a tile's side from all over the image, in mosaics of 2x2 or 4x4, pooled;
- exact: the run on the whole image, which no program that needs tiles can do.
"""

import argparse
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "golden"))
CELL = 8
# The photos that are looked at.
KODAK = (1, 7, 13, 16)


class Norms:
    """The GroupNorms of half a model, which take given statistics and say what they saw."""

    def __init__(self, half):
        self.norms = [m for m in half.modules() if isinstance(m, nn.GroupNorm)]
        self.given, self.seen = None, None
        for at, norm in enumerate(self.norms):
            norm.forward = lambda x, at=at, norm=norm: self.run(at, norm, x)

    def run(self, at, norm, x):
        groups = x.reshape(x.shape[0], norm.num_groups, -1)
        mean, variance = groups.mean(-1), groups.var(-1, unbiased=False)
        if self.seen is not None:
            self.seen[at].append((mean.double(), (variance + mean * mean).double()))
        if self.given is not None:
            mean, variance = self.given[at]
        normed = (groups - mean[..., None]) / torch.sqrt(variance[..., None] + norm.eps)
        shape = (1, -1) + (1,) * (x.dim() - 2)
        return normed.reshape(x.shape) * norm.weight.view(shape) + norm.bias.view(shape)

    def pooled(self, runs):
        """Statistics over all runs of `runs`, a function that makes them."""
        self.seen = [[] for _ in self.norms]
        runs()
        pooled = []
        for seen in self.seen:
            mean, square = (torch.stack(part).mean(0) for part in zip(*seen))
            pooled.append((mean.float(), (square - mean * mean).clamp(min=0).float()))
        self.seen = None
        return pooled


def line(length, size, overlap):
    """Starts of tiles, and their length, as src/tile.rs has it."""
    size = min(size, length)
    gaps = -(-(length - size) // (size - overlap))
    size = min(size, max(2 * overlap, -(-(length + gaps * overlap) // (gaps + 1))))
    return [n * (length - size) // max(1, gaps) for n in range(gaps + 1)], size


def ramps(starts, size):
    """What each tile weighs along a line: a ramp over the middle half of what two of them share."""
    weights = [torch.ones(size) for _ in starts]
    for before, after, left, right in zip(starts, starts[1:], weights, weights[1:]):
        shared = before + size - after
        cut = shared // 4
        up = ((torch.arange(shared) + 0.5 - cut) / (shared - 2 * cut)).clamp(0, 1)
        right[:shared] *= up
        left[size - shared :] *= 1 - up
    return weights


class Half:
    """An encoder or a decoder over one input, whole and in tiles."""

    def __init__(self, norms, run, given, places, results, tile, overlap):
        """A cell is `places` places of what is given and `results` of what comes out."""
        self.norms, self.f, self.given, self.places, self.results = norms, run, given, places, results
        height, width = (side // places for side in given.shape[2:])
        self.lines = line(height, tile // CELL, overlap // CELL), line(width, tile // CELL, overlap // CELL)
        self.tile = tile // CELL

    def tiles(self):
        (tops, rows), (lefts, columns) = self.lines
        k = self.places
        for y in tops:
            for x in lefts:
                yield y, x, self.given[:, :, y * k : (y + rows) * k, x * k : (x + columns) * k]

    def tiled(self):
        (tops, rows), (lefts, columns) = self.lines
        k = self.results
        down = dict(zip(tops, ramps([y * k for y in tops], rows * k)))
        across = dict(zip(lefts, ramps([x * k for x in lefts], columns * k)))
        height, width = (side // self.places * k for side in self.given.shape[2:])
        out = None
        for y, x, tile in self.tiles():
            found = self.f(tile)
            out = torch.zeros(1, found.shape[1], height, width) if out is None else out
            out[:, :, y * k : (y + rows) * k, x * k : (x + columns) * k] += found * down[y][:, None] * across[x]
        return out

    def crops(self, count):
        """Mosaics of count x count crops each."""
        k, (_, rows), (_, columns) = self.places, *self.lines
        tops, rows = line(self.given.shape[2] // k, max(1, rows // count), 0)
        lefts, columns = line(self.given.shape[3] // k, max(1, columns // count), 0)
        crops = [self.given[:, :, y * k : (y + rows) * k, x * k : (x + columns) * k] for y in tops for x in lefts]
        stride = next(n for n in [*range(round(len(crops) * 0.618), len(crops)), 1] if math.gcd(n, len(crops)) == 1)
        for first in range(0, len(crops), count * count):
            mosaic = [crops[(first + n) * stride % len(crops)] for n in range(count * count)]
            yield torch.cat([torch.cat(mosaic[r * count : (r + 1) * count], 3) for r in range(count)], 2)

    def downscaled(self):
        sides = self.given.shape[2:]
        factor = self.tile * self.places / max(sides)
        smaller = [max(self.places, round(side * factor / self.places) * self.places) for side in sides]
        return F.interpolate(self.given, size=smaller, mode="nearest-exact")

    def statistics(self, way):
        self.norms.given = None
        over = lambda inputs: self.norms.pooled(lambda: [self.f(one) for one in inputs])
        if way == "plain":
            return None
        if way == "exact":
            return over([self.given])
        if way == "downscaled":
            return over([self.downscaled()])
        if way == "sample":
            return over([next(self.crops(2))])
        if way.startswith("mosaics"):
            return over(self.crops(int(way[-1])))
        found = over(tile for _, _, tile in self.tiles())
        if way == "tiles twice":
            self.norms.given = found
            found = over(tile for _, _, tile in self.tiles())
        return found


WAYS = ("plain", "downscaled", "sample", "tiles", "tiles twice", "mosaics of 2x2", "mosaics of 4x4", "exact")


def report(name, half, levels):
    """Prints a row for each way; `levels` says what a unit of the result is."""
    half.norms.given = None
    whole = half.f(half.given)
    for way in WAYS:
        start = time.perf_counter()
        half.norms.given = half.statistics(way)
        difference = levels(half.tiled(), whole)
        tones = []
        (tops, rows), (lefts, columns) = half.lines
        for y in tops:
            for x in lefts:
                k = half.results
                tones.append(difference[0, :, y * k : (y + rows) * k, x * k : (x + columns) * k].mean((1, 2)).abs().max())
        rms = difference.square().mean().sqrt().item()
        seconds = time.perf_counter() - start
        print(f"| {name} | {way} | {rms:.4f} | {difference.abs().max():.3f} | {max(tones):.4f} | {seconds:.0f} |", flush=True)
    return whole


def photos(shared):
    images = [Image.open(shared / f"images/kodak/kodim{n:02}.png").convert("RGB") for n in KODAK]
    rows = [np.concatenate([np.asarray(image) for image in images[at : at + 2]], 1) for at in (0, 2)]
    return torch.from_numpy(np.concatenate(rows, 0)).permute(2, 0, 1)[None].float() / 255


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("shared", type=Path)
    parser.add_argument("--kl", type=Path, help="an AutoencoderKL in diffusers' form")
    parser.add_argument("--tile", type=int, default=512)
    parser.add_argument("--overlap", type=int, default=128)
    parser.add_argument("--half", action="store_true", help="the middle of the image")
    args = parser.parse_args()
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    image = photos(args.shared)
    if args.half:
        image = image[:, :, 256:768, 384:1152]
    if args.kl:
        from diffusers import AutoencoderKL

        model = AutoencoderKL.from_pretrained(args.kl).eval()
        encode = lambda x: model.quant_conv(model.encoder(x * 2 - 1))[:, : model.config.latent_channels]
        decode = lambda z: model.decoder(model.post_quant_conv(z)) / 2 + 0.5
    else:
        from safetensors.torch import load_file
        from taef import Taef

        halves = (load_file(args.shared / f"models/taef2/taef2_{half}.safetensors") for half in ("encoder", "decoder"))
        model = Taef.of(*halves)
        encode, decode = model.encoder, model.decoder
    print("| half | statistics from | RMS | largest | tone | seconds |\n|---|---|---|---|---|---|")
    half = Half(Norms(model.encoder), encode, image, CELL, 1, args.tile, args.overlap)
    latent = report("encoder", half, lambda found, whole: (found - whole) / whole.std((2, 3), keepdim=True))
    half = Half(Norms(model.decoder), decode, latent, 1, CELL, args.tile, args.overlap)
    report("decoder", half, lambda found, whole: (found.clamp(0, 1) - whole.clamp(0, 1)) * 255)


if __name__ == "__main__":
    main()
