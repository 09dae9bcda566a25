"""Writes tests/consistency: a small ConsistencyDecoderVAE of random weights, and what it must compute.

    python3 onnx/golden/consistency.py [--out tests/consistency]

The UNet is diffusers'. The loop of steps around it is written out here after OpenAI's sampler, which clamps the image
after every step; diffusers' own loop does not. Noise is given, not drawn, so that others can begin from the same.
"""

import argparse
import json
import math
import shutil
from pathlib import Path

import numpy as np
import torch
from diffusers import ConsistencyDecoderVAE
from diffusers.utils import logging
from safetensors.torch import save_file

import make
import models

ROOT = Path(__file__).resolve().parents[2]
# Widths that shrink and grow: where a skip meets what comes from below, groups of a norm span both.
WIDTHS = (6, 4, 8, 10)
SETTINGS = {
    "encoder_block_out_channels": (4, 4, 8, 8),
    "encoder_layers_per_block": 1,
    "encoder_norm_num_groups": 2,
    "decoder_block_out_channels": WIDTHS,
    "decoder_layers_per_block": 2,
    "decoder_norm_num_groups": 2,
}
# Latents of images of 40x24 and of 8x16 pixels (height x width).
SIZES = [(5, 3), (1, 2)]
TIMES = (1008, 512, 16)
SCALING = 0.18215
MEANS = torch.tensor([0.38862467, 0.02253063, 0.07381133, -0.0171294]).view(1, 4, 1, 1)
DEVIATIONS = torch.tensor([0.9654121, 1.0440036, 0.76147926, 0.77022034]).view(1, 4, 1, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "tests" / "consistency")
    args = parser.parse_args()
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    shutil.rmtree(args.out, ignore_errors=True)
    rng = np.random.default_rng(6)
    model = ConsistencyDecoderVAE(**SETTINGS).eval()
    for name, parameter in model.named_parameters():
        parameter.copy_(models.random_weights(name, parameter.shape, rng))
    inputs = [given(rng, *size) for size in SIZES]
    fit(model, inputs)
    model.to(torch.float16).save_pretrained(args.out / "model")
    model = ConsistencyDecoderVAE.from_pretrained(args.out / "model", torch_dtype=torch.float32).eval()

    golden = {}
    for n, (latent, noises) in enumerate(inputs):
        noisy = noises[0] * 0.9
        golden |= {f"latent.{n}": latent, f"noise.{n}.0": noises[0], f"noise.{n}.1": noises[1], f"noisy.{n}": noisy}
        for time in TIMES:
            golden[f"output.{n}.{time}"] = evaluate(model, latent, noisy, time)
        golden[f"image.{n}"] = decode(model, latent, noises)
    pixels = make.pictures()[0]
    moments = model.encode(models.normalised(model, make.padded(pixels, 8))).latent_dist
    golden |= {"pixels": pixels, "mean": moments.mean}
    check(model, inputs, golden)
    save_file({name: value.contiguous() for name, value in golden.items()}, args.out / "golden.safetensors")
    facts = {"times": TIMES, "inputs": len(inputs)}
    (args.out / "case.json").write_text(json.dumps(facts, indent=2) + "\n")


def given(rng, rows, columns):
    """A latent, and the noise of two steps."""
    latent = torch.from_numpy(rng.normal(0, 5, (1, 4, rows, columns))).half()
    noises = [torch.from_numpy(rng.standard_normal((1, 3, 8 * rows, 8 * columns))).float() for _ in range(2)]
    return latent, noises


def fit(model, inputs):
    """Makes what the UNet gives so large that images leave their range, and are not all beyond it."""
    layer = model.decoder_unet.conv_out
    outputs = []
    hook = layer.register_forward_hook(lambda _layer, _inputs, output: outputs.append(output.transpose(0, 1).flatten(1)))
    for latent, noises in inputs:
        evaluate(model, latent, noises[0], TIMES[0])
    hook.remove()
    values = torch.cat(outputs, 1)
    factors = models.rounded(1.6 / values.std(1))
    layer.weight *= factors.view(-1, 1, 1, 1)
    layer.bias.copy_((layer.bias - models.rounded(values.mean(1))) * factors)


def evaluate(model, latent, noisy, time):
    """The first three channels that the UNet gives: of the image, not of its variance."""
    z = (latent.float() * SCALING - MEANS) / DEVIATIONS
    z = torch.nn.functional.interpolate(z, scale_factor=8, mode="nearest")
    return model.decoder_unet(torch.cat([noisy, z], 1), torch.tensor(time)).sample[:, :3]


def decode(model, latent, noises, clamp=True):
    """Two steps of OpenAI's sampler."""
    alphas = torch.cumprod(1 - betas(), 0)
    image = torch.zeros_like(noises[0])
    for time, noise in zip((1008, 512), noises):
        alpha = alphas[time]
        variance = 1 / alpha - 1
        noisy = alpha.sqrt() * image + (1 - alpha).sqrt() * noise
        both, unscale = variance + 0.5**2, (1 / alpha).sqrt()
        output = evaluate(model, latent, noisy * unscale / both.sqrt(), time)
        image = variance.sqrt() * 0.5 / both.sqrt() * output + unscale * 0.5**2 / both * noisy
        image = image.clamp(-1, 1) if clamp else image
    return image


def betas():
    """The cosine schedule, in f32 as OpenAI has it."""

    def left(way):
        return math.cos((way + 0.008) / 1.008 * math.pi / 2) ** 2

    return torch.tensor([min(1 - left((n + 1) / 1024) / left(n / 1024), 0.999) for n in range(1024)])


def check(model, inputs, golden):
    """Stops where the values would let a wrong reader pass."""
    latent, noises = inputs[0]
    image = golden["image.0"]
    assert all(value.isfinite().all() for value in golden.values())
    clipped = (image.abs() == 1).float().mean().item()
    free = decode(model, latent, noises, clamp=False).clamp(-1, 1)
    print(f"image: {clipped:.0%} clipped, {(free - image).std():.3f} from one that is clamped only at the end")
    assert 0.02 < clipped < 0.5 and (free - image).std() > 0.05
    own = model.decode(latent.float(), generator=torch.Generator().manual_seed(0)).sample
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(own.shape, generator=generator) for _ in range(2)]
    apart = (decode(model, latent, drawn, clamp=False) - own).abs().max().item()
    print(f"without the clamp {apart:.1e} from diffusers' own loop")
    assert apart < 1e-4, "our loop is not diffusers'"
    names = [name for name, _ in model.decoder_unet.named_parameters()]
    least, name = min((zeroed(model, latent, golden, name), name) for name in names)
    print(f"any one tensor set to zeros changes the output by {least:.2%} of its deviation or more ({name})")
    # A hundred times what a reader is allowed to be off.
    assert least > 0.002


def zeroed(model, latent, golden, name):
    """How far the output moves without one tensor, against its deviation."""
    noisy, expected = golden["noisy.0"], golden["output.0.512"]
    parameter = dict(model.decoder_unet.named_parameters())[name]
    kept = parameter.clone()
    parameter.copy_(torch.ones_like(kept) if "norm" in name and name.endswith("weight") else torch.zeros_like(kept))
    moved = (evaluate(model, latent, noisy, 512) - expected).std() / expected.std()
    parameter.copy_(kept)
    return moved.item()


if __name__ == "__main__":
    main()
