"""consistency.py against a small TorchScript module that has OpenAI's names and its own way of computing.

    python3 -m unittest discover -s onnx/tools
"""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

TOOL = Path(__file__).with_name("consistency.py")
WIDTHS = (32, 32, 64, 64)
EMBEDDED = 4 * WIDTHS[0]


class Layer(nn.Module):
    """A convolution, a matrix or the factors of a norm, called w or g, and b."""

    def __init__(self, kind, *shape):
        super().__init__()
        self.kind = kind
        values = torch.randn(*shape)
        if kind == "norm":
            self.g = nn.Parameter(1 + 0.2 * values)
        else:
            self.w = nn.Parameter(values / values[0].numel() ** 0.5)
        self.b = nn.Parameter(0.2 * torch.randn(shape[0]))

    def forward(self, x):
        if self.kind == "norm":
            return F.group_norm(x, 32, self.g, self.b)
        if self.kind == "linear":
            return F.linear(x, self.w, self.b)
        return F.conv2d(x, self.w, self.b, padding=self.w.shape[-1] // 2)


class Block(nn.Module):
    def __init__(self, before, after, size=""):
        super().__init__()
        self.size = size
        self.gn_1, self.f_1 = Layer("norm", before), Layer("conv", after, before, 3, 3)
        self.f_t = Layer("linear", 2 * after, EMBEDDED)
        self.gn_2, self.f_2 = Layer("norm", after), Layer("conv", after, after, 3, 3)
        self.f_s = Layer("conv", after, before, 1, 1) if before != after else nn.Identity()

    def resize(self, x):
        if self.size == "down":
            return F.avg_pool2d(x, 2)
        return F.interpolate(x, scale_factor=2.0) if self.size == "up" else x

    def forward(self, x, time):
        scale, shift = self.f_t(F.silu(time))[:, :, None, None].chunk(2, 1)
        inner = self.f_1(self.resize(F.silu(self.gn_1(x))))
        inner = self.gn_2(inner) * (1 + scale) + shift
        return self.f_s(self.resize(x)) + self.f_2(F.silu(inner))


class Embedding(nn.Module):
    def __init__(self, table_is_constant):
        super().__init__()
        table = torch.randn(1024, WIDTHS[0])
        if table_is_constant:
            self.table = table
        else:
            self.emb = nn.Parameter(table)
        self.f_1, self.f_2 = Layer("linear", EMBEDDED, WIDTHS[0]), Layer("linear", EMBEDDED, EMBEDDED)

    def forward(self, time):
        table = self.table if hasattr(self, "table") else self.emb
        return self.f_2(F.silu(self.f_1(F.embedding(time, table))))


class Ends(nn.Module):
    def __init__(self, **layers):
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)


class Blocks(nn.Module):
    """All layers under the names that are in OpenAI's file."""

    def __init__(self, table_is_constant):
        super().__init__()
        self.embed_image = Ends(f=Layer("conv", WIDTHS[0], 7, 3, 3))
        self.embed_time = Embedding(table_is_constant)
        skips, width, last = [WIDTHS[0]], WIDTHS[0], len(WIDTHS) - 1
        for level, after in enumerate(WIDTHS):
            for n in range(3):
                setattr(self, f"down_{level}_conv_{n}", Block(width, after))
                width = after
                skips.append(width)
            if level < last:
                setattr(self, f"down_{level}_downsamp", Block(width, width, "down"))
                skips.append(width)
        self.mid_0, self.mid_1 = Block(width, width), Block(width, width)
        for level in range(last, -1, -1):
            for n in range(4):
                setattr(self, f"up_{level}_conv_{n}", Block(width + skips.pop(), WIDTHS[level]))
                width = WIDTHS[level]
            if level:
                setattr(self, f"up_{level}_upsamp", Block(width, width, "up"))
        self.output = Ends(gn=Layer("norm", WIDTHS[0]), f=Layer("conv", 6, WIDTHS[0], 3, 3))


class Decoder(nn.Module):
    def __init__(self, table_is_constant):
        super().__init__()
        self.blocks = Blocks(table_is_constant)

    def forward(self, x, t, features):
        blocks, last = self.blocks, len(WIDTHS) - 1
        x = torch.cat([x, F.interpolate(features, scale_factor=8.0)], 1)
        time = blocks.embed_time(t)
        x = blocks.embed_image.f(x)
        skips = [x]
        for level in range(len(WIDTHS)):
            for what in ["conv_0", "conv_1", "conv_2"] + (["downsamp"] if level < last else []):
                x = getattr(blocks, f"down_{level}_{what}")(x, time)
                skips.append(x)
        x = blocks.mid_1(blocks.mid_0(x, time), time)
        for level in range(last, -1, -1):
            for n in range(4):
                x = getattr(blocks, f"up_{level}_conv_{n}")(torch.cat([x, skips.pop()], 1), time)
            if level:
                x = getattr(blocks, f"up_{level}_upsamp")(x, time)
        return blocks.output.f(F.silu(blocks.output.gn(x)))


def scripted(path, table_is_constant):
    torch.manual_seed(3)
    module = Decoder(table_is_constant).eval()
    example = {"x": torch.zeros(1, 3, 64, 64), "t": torch.tensor([512]), "features": torch.zeros(1, 4, 8, 8)}
    with torch.no_grad():
        torch.jit.trace(module, example_kwarg_inputs=example, strict=False).save(str(path))


def converted(folder):
    command = [sys.executable, TOOL, folder / "decoder.pt", folder / "out.safetensors"]
    return subprocess.run(command, capture_output=True, text=True)


class Conversion(unittest.TestCase):
    def test_a_module_with_openais_names_becomes_diffusers_unet(self):
        for table_is_constant in (False, True):
            with self.subTest(table_is_constant=table_is_constant), tempfile.TemporaryDirectory() as folder:
                folder = Path(folder)
                scripted(folder / "decoder.pt", table_is_constant)
                result = converted(folder)
                self.assertEqual(result.returncode, 0, result.stderr)
                self.assertIn("compared: the UNet", result.stdout)
                tensors = load_file(folder / "out.safetensors")
                self.assertEqual(list(tensors["time_proj.weight"].shape), [1024, WIDTHS[0]])
                self.assertIn("up_blocks.0.upsamplers.0.conv1.weight", tensors)

    def test_a_module_of_something_else_is_refused_by_the_name_of_a_tensor(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            torch.jit.trace(nn.Sequential(nn.Linear(3, 3)), torch.zeros(1, 3)).save(str(folder / "decoder.pt"))
            result = converted(folder)
            self.assertEqual(result.returncode, 1)
            self.assertIn("`0.weight`", result.stderr)
            self.assertFalse((folder / "out.safetensors").exists())


if __name__ == "__main__":
    unittest.main()
