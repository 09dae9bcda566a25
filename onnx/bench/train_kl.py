"""Trains a small AutoencoderKL, because random weights say little of what training makes of norms and attention.

    python3 onnx/bench/train_kl.py SHARED OUT [--steps 1000]

SHARED holds `images`: the Kodak photos that `tile_norms.py` looks at are left out. OUT gets the model in diffusers' form,
for `tile_norms.py --kl OUT` and `latentdb model import OUT`. Widths 32, 64, 96, 96, one layer a block, 16 groups, attention
in the middle, as Stable Diffusion has it. Needs torch, diffusers and Pillow.
"""

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch.nn import functional as F

from tile_norms import KODAK

RATE = 1e-3
# Sides of crops, and how many make a batch: norms see images of several sizes.
BATCHES = ((64, 8), (96, 4), (128, 2))


def photos(shared):
    """The photos, and the same at half their size."""
    held_out = {f"kodim{n:02}.png" for n in KODAK}
    paths = [*shared.glob("images/kodak/*.png"), *shared.glob("images/consistency-decoder/gt*.png")]
    paths = sorted(path for path in paths if path.name not in held_out)
    whole = [torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1).float() for path in paths]
    return whole + [F.interpolate(image[None], scale_factor=0.5, mode="area")[0] for image in whole if min(image.shape[1:]) >= 256]


def batch(images, random):
    side, count = BATCHES[random.integers(len(BATCHES))]
    crops = []
    for _ in range(count):
        image = images[random.integers(len(images))]
        top, left = (random.integers(length - side + 1) for length in image.shape[1:])
        crop = image[:, top : top + side, left : left + side]
        crops.append(crop.flip(2) if random.random() < 0.5 else crop)
    return torch.stack(crops) / 127.5 - 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("shared", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=1000)
    args = parser.parse_args()
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    images = photos(args.shared)
    model = AutoencoderKL(
        block_out_channels=(32, 64, 96, 96),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=16,
    )
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0)
    start = time.perf_counter()
    for step in range(args.steps):
        for group in optimizer.param_groups:
            warm, decay = min(1, (step + 1) / 50), 0.5 * (1 + math.cos(math.pi * step / args.steps))
            group["lr"] = RATE * warm * (decay + 0.01)
        pixels = batch(images, random)
        latent = model.encode(pixels).latent_dist.mean
        # A little noise, so that the decoder is smooth.
        noise = 0.02 * latent.detach().std() * torch.randn_like(latent)
        error = (pixels - model.decode(latent + noise).sample).square().mean()
        optimizer.zero_grad()
        (error + 1e-4 * latent.square().mean()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % 100 == 0:
            print(f"{step + 1} steps, {time.perf_counter() - start:.0f} s: {10 * math.log10(4 / error.item()):.1f} dB", flush=True)
    model.save_pretrained(args.out)


if __name__ == "__main__":
    main()
