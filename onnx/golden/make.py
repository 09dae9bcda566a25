"""Writes the golden cases: small models as their users have them on disk, and what they must compute.

    python3 onnx/golden/make.py [--out tests/golden] [CASE...]
"""

import argparse
import json
import shutil
import zlib
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from diffusers.utils import logging
from safetensors.torch import save_file

import disk
import models
from cases import CASES
from taef import Taef

ROOT = Path(__file__).resolve().parents[2]
# (images, height, width): one is a batch, two are no multiples of 8 or 4.
SIZES = [(1, 37, 29), (2, 24, 24), (1, 24, 31)]
# Own stack against diffusers, relative to the largest value.
TOLERANCE = 1e-5


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "tests" / "golden")
    parser.add_argument("cases", nargs="*", metavar="CASE", help="names of cases; all of them when absent")
    args = parser.parse_args()
    unknown = set(args.cases) - {case.name for case in CASES}
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    # diffusers warns of casts and of its own configuration.
    logging.set_verbosity_error()
    # The order of a sum depends on the number of threads.
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    for case in CASES:
        if not args.cases or case.name in args.cases:
            make(case, args.out / case.name)


def make(case, folder):
    """Writes one case, replacing what was there."""
    shutil.rmtree(folder, ignore_errors=True)
    inputs = pictures()
    rng = np.random.default_rng(zlib.crc32(case.name.encode()))
    model = models.build(case, rng)
    models.fit(case, model, [padded(pixels, case.ratio) for pixels in inputs], rng)
    state = {name: value.to(case.dtype).float() for name, value in model.state_dict().items()}
    disk.write(case, model, folder)
    model = disk.read(case, folder)
    for name, value in model.state_dict().items():
        assert value.dtype == torch.float32 and torch.equal(value, state[name]), f"{case.name}: {name} was not read back"
    golden = {}
    for n, pixels in enumerate(inputs):
        golden |= {f"{key}.{n}": value for key, value in reference(case, model, pixels).items()}
    check(case, model, golden)
    save_file(golden, folder / "golden.safetensors")
    facts = {
        "family": case.family,
        "layout": case.layout,
        "path": case.path,
        "latent_space": case.space,
        "latent_space_known": case.space_known,
        "channels": case.channels,
        "ratio": case.ratio,
        "pixel_range": models.pixel_range(model),
        "inputs": len(inputs),
    }
    (folder / "case.json").write_text(json.dumps(facts, indent=2) + "\n")


def pictures():
    """The inputs, the same for every case."""
    rng = np.random.default_rng(1)
    return [
        torch.from_numpy(np.stack([picture(rng, height, width) for _ in range(images)])) for images, height, width in SIZES
    ]


def picture(rng, height, width):
    """A gradient, discs and stripes with hard edges, and some noise, uint8 [height, width, 3]."""
    y, x = np.mgrid[:height, :width] / 32
    image = 128 + (x[..., None] - 0.5) * rng.uniform(-70, 70, 3) + (y[..., None] - 0.5) * rng.uniform(-70, 70, 3)
    for _ in range(3):
        disc = np.hypot(x - rng.uniform(0, 1), y - rng.uniform(0, 1)) < rng.uniform(0.1, 0.4)
        image[disc] = rng.uniform(0, 255, 3)
    image[::3, width // 2 :] += 50
    image += rng.normal(0, 6, image.shape)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def padded(pixels, ratio):
    """Up to a multiple of `ratio`, by repeating the last column and the last row."""
    _, height, width, _ = pixels.shape
    edges = ((0, 0), (0, -height % ratio), (0, -width % ratio), (0, 0))
    return torch.from_numpy(np.pad(pixels.numpy(), edges, mode="edge"))


def reference(case, model, pixels):
    """What the model must make of one input."""
    mean = models.encode(case, model, models.normalised(model, padded(pixels, case.ratio))).contiguous()
    latent = mean.half()
    image = models.decode(case, model, latent.float()).contiguous()
    return {"pixels": pixels, "mean": mean, "latent": latent, "image": image}


def check(case, model, golden):
    """Stops where the values would let a wrong reader pass, or where diffusers and our own stack disagree."""
    low, high = models.pixel_range(model)
    images = torch.cat([golden[f"image.{n}"].flatten() for n in range(len(SIZES))])
    means = torch.cat([golden[f"mean.{n}"].flatten() for n in range(len(SIZES))])
    assert images.isfinite().all() and means.isfinite().all(), f"{case.name}: not finite"
    assert images.min() < low and images.max() > high, f"{case.name}: images stay within their range"
    print(f"{case.name}: latents {means.min():.2f}..{means.max():.2f}, images {images.min():.2f}..{images.max():.2f}", end="")
    if isinstance(model, AutoencoderTiny):
        print(f", own stack {own_stack(case, model, golden):.1e} from diffusers", end="")
    print()


def own_stack(case, model, golden):
    """The largest difference between diffusers and `taef.py`, relative to the largest value."""
    taef = Taef.of_diffusers(model.state_dict())
    worst = 0.0
    for n in range(len(SIZES)):
        own = reference(case, taef, golden[f"pixels.{n}"])
        worst = max(worst, relative(own["mean"], golden[f"mean.{n}"]))
        image = models.decode(case, taef, golden[f"latent.{n}"].float())
        worst = max(worst, relative(image * 2 - 1, golden[f"image.{n}"]))
    assert worst < TOLERANCE, f"{case.name}: own stack differs from diffusers by {worst}"
    return worst


def relative(a, b):
    return ((a - b).abs().max() / b.abs().max()).item()


if __name__ == "__main__":
    main()
