"""Proves the stack of `taef.py` on trained weights: TAEF2 must rebuild four photographs at their known PSNR.

    python3 onnx/golden/check_taef2.py [SHARED]

SHARED holds `models/taef2` and `images/kodak`; it lies beside the repository unless told otherwise.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from taef import Taef

# Measured by another implementation; in dB.
KNOWN = {"kodim01": 27.18, "kodim07": 33.18, "kodim13": 23.60, "kodim19": 29.98}
TOLERANCE = 0.05


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("shared", type=Path, nargs="?", default=Path(__file__).resolve().parents[3] / "shared")
    shared = parser.parse_args().shared
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    model = Taef.of(*(load_file(shared / "models" / "taef2" / f"taef2_{half}.safetensors") for half in ("encoder", "decoder")))
    missed = []
    for name, known in KNOWN.items():
        original = torch.from_numpy(np.array(Image.open(shared / "images" / "kodak" / f"{name}.png").convert("RGB")))
        found = psnr(original, rebuilt(model, original))
        print(f"{name}: {found:.3f} dB, known {known:.2f}")
        if abs(found - known) > TOLERANCE:
            missed.append(name)
    if missed:
        sys.exit(f"error: not the known PSNR: {', '.join(missed)}")


def rebuilt(model, pixels):
    """Bytes [H, W, 3] through the encoder, an f16 latent, and the decoder."""
    latent = model.encoder(pixels.permute(2, 0, 1)[None].float() / 255).half()
    image = model.decoder(latent.float())
    # `round` takes halves to the even neighbour.
    return (image * 255).clamp(0, 255).round().to(torch.uint8)[0].permute(1, 2, 0)


def psnr(a, b):
    return 10 * torch.log10(255**2 / ((a.double() - b.double()) ** 2).mean()).item()


if __name__ == "__main__":
    main()
