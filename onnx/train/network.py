"""The autoencoder `tiny`: 8x smaller in each direction, 4 latent channels, convolutions and ReLU only.

Pixels inside the network are `u8 / 127.5 - 1`. Residual blocks start as the identity, so that the
untrained network is nearly linear and takes a high learning rate from the start. There is no
normalisation layer: tiles of an image then give the same latents as the image itself, and the
exported graph is nothing but Conv, Relu and Add.
"""

import torch
from torch import nn
from torch.nn import functional as F

LATENT_CHANNELS = 4
COMPRESSION = 8
# What the stored fingerprint calls the configuration of the family `tiny`.
CONFIG = {
    "encoder_blocks": [2, 4],
    "latent_channels": LATENT_CHANNELS,
    "spatial_compression_ratio": COMPRESSION,
    "widths": [48, 160],
}
# Channels at a quarter of the image's sides, and at an eighth.
FINE, COARSE = CONFIG["widths"]
DECODER_BLOCKS = (5, 4)


def conv(inputs, outputs, stride=1, side=3):
    return nn.Conv2d(inputs, outputs, side, stride=stride, padding=side // 2)


class Block(nn.Module):
    """x + conv(relu(conv(x)))."""

    def __init__(self, width):
        super().__init__()
        self.conv1 = conv(width, width)
        self.conv2 = conv(width, width)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x):
        return x + self.conv2(F.relu(self.conv1(x)))


class Encoder(nn.Module):
    """Pixels [N, 3, H, W] in -1..1 to latents [N, 4, H/8, W/8]."""

    def __init__(self):
        super().__init__()
        fine, coarse = CONFIG["encoder_blocks"]
        self.stem = conv(48, FINE)
        self.fine = nn.Sequential(*[Block(FINE) for _ in range(fine)])
        self.down = conv(FINE, COARSE, stride=2)
        self.coarse = nn.Sequential(*[Block(COARSE) for _ in range(coarse)])
        self.head = conv(COARSE, LATENT_CHANNELS)

    def forward(self, x):
        x = self.fine(self.stem(F.pixel_unshuffle(x, 4)))
        return self.head(self.coarse(self.down(x)))


class Decoder(nn.Module):
    """Latents [N, 4, h, w] to pixels [N, 3, 8h, 8w], about -1..1 and not clipped."""

    def __init__(self):
        super().__init__()
        # What `export.py` takes from the latents so that their mean is 0. It is an addition and not
        # part of the first bias, because that convolution pads with zeros: those must stay zeros.
        self.register_buffer("shift", torch.zeros(1, LATENT_CHANNELS, 1, 1))
        coarse, fine = DECODER_BLOCKS
        self.stem = conv(LATENT_CHANNELS, COARSE)
        self.coarse = nn.Sequential(*[Block(COARSE) for _ in range(coarse)])
        self.up = conv(COARSE, 4 * FINE, side=1)
        self.fine = nn.Sequential(*[Block(FINE) for _ in range(fine)])
        self.head = conv(FINE, 48)

    def forward(self, z):
        x = self.fine(F.pixel_shuffle(self.up(self.coarse(self.stem(z + self.shift))), 2))
        return F.pixel_shuffle(self.head(x), 4)


class Autoencoder(nn.Module):
    """Both halves, with the noise on the latents that training asks for."""

    def __init__(self):
        super().__init__()
        self.encoder = Encoder()
        self.decoder = Decoder()

    def forward(self, x, steps=None):
        """The pixels that come back, and the latents. `steps`: per image, the step of a quantisation that is imitated
        by even noise, in standard deviations of each channel."""
        z = self.encoder(x)
        if steps is None:
            return self.decoder(z), z
        # Relative to each channel's deviation, so that the network cannot escape the noise by scaling up.
        deviation = z.detach().float().std((0, 2, 3), keepdim=True)
        noise = (torch.rand_like(z, dtype=torch.float32) - 0.5) * deviation * steps.view(-1, 1, 1, 1)
        return self.decoder(z + noise.to(z.dtype)), z


def to_unit(pixels):
    """uint8 (any layout) to the range inside the network."""
    return pixels.float() / 127.5 - 1


def to_bytes(x):
    """The range inside the network to uint8, rounded half to even."""
    return ((x + 1) * 127.5).clamp(0, 255).round().to(torch.uint8)
