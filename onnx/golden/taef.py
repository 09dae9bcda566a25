"""TAESD and its kin in torch: plain stacks of layers with the numbers that the original files use.

Pixels are in [0, 1], latents in the units that the diffusion side sees ("scaled").
"""

import torch
from torch import nn


def conv(inputs, outputs, **options):
    return nn.Conv2d(inputs, outputs, 3, padding=1, **options)


class Clamp(nn.Module):
    """Bends values towards -3 and 3."""

    def forward(self, x):
        return torch.tanh(x / 3) * 3


class Block(nn.Module):
    """A residual block; with `pool`, as in the middle of TAEF2, statistics of the whole image come in first."""

    def __init__(self, width, pool=False):
        super().__init__()
        self.conv = nn.Sequential(conv(width, width), nn.ReLU(), conv(width, width), nn.ReLU(), conv(width, width))
        self.pool = None
        if pool:
            self.pool = nn.Sequential(
                nn.Conv2d(width, 4 * width, 1, bias=False),
                nn.GroupNorm(4, 4 * width),
                nn.ReLU(),
                nn.Conv2d(4 * width, width, 1, bias=False),
            )

    def forward(self, x):
        if self.pool is not None:
            x = x + self.pool(x)
        return torch.relu(self.conv(x) + x)


def blocks(count, width, pool=False):
    return [Block(width, pool) for _ in range(count)]


def encoder(width, channels, pool=False):
    """Layers 0 to 14."""

    def down():
        return conv(width, width, stride=2, bias=False)

    return nn.Sequential(
        conv(3, width), *blocks(1, width),
        down(), *blocks(3, width),
        down(), *blocks(3, width),
        down(), *blocks(3, width, pool),
        conv(width, channels),
    )  # fmt: skip


def decoder(width, channels, pool=False):
    """Layers 0 to 19."""

    def up():
        return [nn.Upsample(scale_factor=2), conv(width, width, bias=False)]

    return nn.Sequential(
        Clamp(), conv(channels, width), nn.ReLU(),
        *blocks(3, width, pool), *up(),
        *blocks(3, width), *up(),
        *blocks(3, width), *up(),
        *blocks(1, width), conv(width, 3),
    )  # fmt: skip


class Taef(nn.Module):
    """Both halves."""

    def __init__(self, width, channels, pool=False):
        super().__init__()
        self.encoder = encoder(width, channels, pool)
        self.decoder = decoder(width, channels, pool)

    @classmethod
    def of(cls, encoder_tensors, decoder_tensors):
        """The model that these tensors, under their original names, belong to; computes in f32."""
        channels, width = encoder_tensors["14.weight"].shape[:2]
        model = cls(width, channels, pool="11.pool.0.weight" in encoder_tensors)
        model.encoder.load_state_dict(encoder_tensors)
        model.decoder.load_state_dict(decoder_tensors)
        return model.eval()

    @classmethod
    def of_diffusers(cls, tensors):
        """The same model as an `AutoencoderTiny` of diffusers, whose decoder does not count the clamp as a layer."""
        halves = {"encoder": {}, "decoder": {}}
        for name, value in tensors.items():
            half, _, number, rest = name.split(".", 3)
            halves[half][f"{int(number) + (half == 'decoder')}.{rest}"] = value
        return cls.of(halves["encoder"], halves["decoder"])
