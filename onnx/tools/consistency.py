"""Turns OpenAI's consistency decoder (decoder.pt, TorchScript) into a .safetensors file that latentdb imports.

    python3 -m pip install -r onnx/tools/requirements.txt
    python3 onnx/tools/consistency.py decoder.pt consistency.safetensors
    latentdb model import consistency.safetensors

The tensors get the names of diffusers' UNet2DModel and stay as they are. When they are written, diffusers' UNet with
these tensors and decoder.pt itself are run once on the same small image: if they differ, nothing is left behind.

Loading decoder.pt runs the code in it, as TorchScript does. Take it from where OpenAI's README says, and compare its
SHA-256: c9cebd3132dd9c42936d803e33424145a748843c8f716c0814838bdc8a2fe7cb.
"""

import argparse
import re
import sys
from pathlib import Path

import torch
from diffusers import UNet2DModel
from safetensors.torch import save_file

# OpenAI's names and diffusers', of a block's layers and of the last part of a name.
LAYERS = {"gn_1": "norm1", "f_1": "conv1", "f_t": "time_emb_proj", "gn_2": "norm2", "f_2": "conv2", "f_s": "conv_shortcut"}
PARTS = {"w": "weight", "g": "weight", "b": "bias", "weight": "weight", "bias": "bias"}
OUTER = {
    "embed_image.f": "conv_in",
    "embed_time.f_1": "time_embedding.linear_1",
    "embed_time.f_2": "time_embedding.linear_2",
    "output.gn": "conv_norm_out",
    "output.f": "conv_out",
}
TABLE = "time_proj.weight"
TIMES = 1024
# The least that two ways to sum in f32 may differ by, and the most that is taken for that.
TOLERANCE = 1e-4


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source", type=Path, help="OpenAI's decoder.pt")
    parser.add_argument("target", type=Path, help="the .safetensors file to write")
    args = parser.parse_args()
    if args.target.suffix != ".safetensors":
        parser.error(f"{args.target} must end in .safetensors")
    torch.set_grad_enabled(False)
    script = torch.jit.load(str(args.source), map_location="cpu").eval()
    tensors = convert(script)
    unet = build(tensors)
    apart = difference(script, unet)
    if apart is None:
        print("not compared: decoder.pt doesn't run on this machine", file=sys.stderr)
    elif apart > TOLERANCE:
        sys.exit(f"error: diffusers' UNet with these tensors gives another image than {args.source}: {apart:.1e} apart")
    else:
        print(f"compared: the UNet and {args.source} are {apart:.1e} apart")
    save_file(tensors, args.target, metadata={"format": "pt"})
    count = sum(tensor.numel() for tensor in tensors.values())
    print(f"wrote {args.target}: {len(tensors)} tensors, {count:,} weights")


def convert(script):
    """All tensors of OpenAI's module under diffusers' names."""
    found = dict(script.named_parameters()) | dict(script.named_buffers())
    numbers = [int(match[1]) for name in found if (match := re.search(r"(?:^|\.)down_(\d+)_", name))]
    levels = 1 + max(numbers, default=0)
    tensors = {}
    for name, tensor in found.items():
        new = TABLE if is_table(tensor, name) else renamed(name, levels)
        if new is None:
            sys.exit(f"error: decoder.pt has a tensor `{name}` {list(tensor.shape)} that is not known")
        if new in tensors:
            sys.exit(f"error: decoder.pt has two tensors for `{new}`, one of them `{name}`")
        tensors[new] = tensor.detach().clone().contiguous()
    if TABLE not in tensors:
        tensors[TABLE] = table_of_constants(script)
    return tensors


def is_table(tensor, name):
    return tensor.dim() == 2 and tensor.shape[0] == TIMES and ".f_" not in name


def table_of_constants(script):
    """The table of times where it is no parameter but a constant of the code."""
    graph = script.inlined_graph  # kept, because its nodes go with it
    values = [node.output().toIValue() for node in graph.findAllNodes("prim::Constant")]
    candidates = [value for value in values if torch.is_tensor(value) and value.dim() == 2 and value.shape[0] == TIMES]
    if len(candidates) != 1:
        sys.exit(f"error: decoder.pt has {len(candidates)} tensors that may be its table of {TIMES} times, not one")
    return candidates[0].cpu().clone().contiguous()


def renamed(name, levels):
    """diffusers' name of a tensor; None if it is none of the decoder's."""
    *path, part = name.split(".")
    path = [step for step in path if step not in ("decoder", "blocks")]
    part = PARTS.get(part)
    if part is None or not path:
        return None
    outer = OUTER.get(".".join(path))
    if outer:
        return f"{outer}.{part}"
    layer = LAYERS.get(path[-1])
    block = renamed_block("_".join(path[:-1]), levels)
    return f"{block}.{layer}.{part}" if layer and block else None


def renamed_block(name, levels):
    if match := re.fullmatch(r"mid_(\d+)", name):
        return f"mid_block.resnets.{match[1]}"
    if match := re.fullmatch(r"(down|up)_(\d+)_(conv_(\d+)|downsamp|upsamp)", name):
        way, level, what, number = match.groups()
        # OpenAI counts the levels of the way up from the image, diffusers in the order of computing.
        level = int(level) if way == "down" else levels - 1 - int(level)
        block = f"{way}_blocks.{level}"
        return f"{block}.resnets.{number}" if number else f"{block}.{what}lers.0"
    return None


def build(tensors):
    """diffusers' UNet with these tensors, its configuration read off their shapes."""

    def count(name):
        n = 0
        while name.format(n) in tensors:
            n += 1
        return n

    levels = count("down_blocks.{}.resnets.0.conv1.weight")
    widths = tuple(tensors[f"down_blocks.{n}.resnets.0.conv1.weight"].shape[0] for n in range(levels))
    unet = UNet2DModel(
        add_attention=False,
        block_out_channels=widths,
        down_block_types=("ResnetDownsampleBlock2D",) * levels,
        in_channels=tensors["conv_in.weight"].shape[1],
        layers_per_block=count("down_blocks.0.resnets.{}.conv1.weight"),
        norm_eps=1e-5,
        norm_num_groups=32,
        num_train_timesteps=TIMES,
        out_channels=tensors["conv_out.weight"].shape[0],
        resnet_time_scale_shift="scale_shift",
        time_embedding_type="learned",
        up_block_types=("ResnetUpsampleBlock2D",) * levels,
    )
    unet.load_state_dict(tensors)
    return unet.eval()


def difference(script, unet):
    """How far the two are apart on one image, relative to the largest value; None if decoder.pt doesn't run here."""
    generator = torch.Generator().manual_seed(0)
    noisy = torch.randn(1, 3, 64, 64, generator=generator)
    latent = torch.randn(1, 4, 8, 8, generator=generator)
    time = torch.tensor([512])
    try:
        expected = script(noisy, time, features=latent)
    except RuntimeError as error:
        # Such as a device that its code names.
        print(str(error).strip().splitlines()[-1], file=sys.stderr)
        return None
    wide = torch.nn.functional.interpolate(latent, scale_factor=8, mode="nearest")
    found = unet(torch.cat([noisy, wide], 1), time).sample
    return ((found - expected).abs().max() / expected.abs().max().clamp(min=1)).item()


if __name__ == "__main__":
    main()
