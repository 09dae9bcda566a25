"""Writes the trained autoencoder as encoder.onnx, decoder.onnx and manifest.json.

    python3 export.py --weights DIR/checkpoint --out ../tiny
"""

import argparse
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import onnxruntime
import torch

import graph
import stored
from fingerprint import fingerprint
from network import COMPRESSION, CONFIG, FINE, LATENT_CHANNELS, Autoencoder, to_bytes, to_unit
from quantise import quantise
from train import VALIDATION_SEED, held_out

FAMILY = "tiny"
# Measured with onnx/bench/tiles.py; and how far a result looks, in pixels: a 3x3 convolution adds one cell of its input,
# 4 pixels or 8. The encoder has 5 of them at 4 and one more that halves, then 9 at 8; the decoder 11 at 8, then 9 at 4.
TILES = {
    "encoder": {"bytes_per_pixel": 64, "reach": 6 * 4 + 9 * 8},
    "decoder": {"bytes_per_pixel": 90, "reach": 11 * 8 + 9 * 4},
}
# Other images than those that validation looks at.
STATISTICS_SEED = VALIDATION_SEED + 1
STATISTICS_IMAGES = 256


def normal_form(state, images):
    """The same autoencoder with latents of mean 0 and deviation 1 per channel over `images`."""
    model = Autoencoder().eval()
    model.load_state_dict(state)
    latents = torch.cat([model.encoder(unit(part)) for part in images.split(16)])
    mean, deviation = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    folded = Autoencoder().eval()
    folded.load_state_dict(state)
    head, stem = folded.encoder.head, folded.decoder.stem
    head.weight /= deviation.view(-1, 1, 1, 1)
    head.bias.copy_((head.bias - mean) / deviation)
    stem.weight *= deviation.view(1, -1, 1, 1)
    folded.decoder.shift += (mean / deviation).view(1, -1, 1, 1)
    difference = (folded(unit(images[:8]))[0] - model(unit(images[:8]))[0]).abs().max().item()
    assert difference < 2e-3, f"normalising the latents changed the pixels by {difference}"
    print(f"latent mean {mean.tolist()}, deviation {deviation.tolist()}; largest change of a pixel {difference * 127.5:.4f} levels")
    return folded


def unit(images):
    return to_unit(images.permute(0, 3, 1, 2)).contiguous()


def small_weights(model):
    """Rounds kernels to 8 bits and all else to f16, in place; returns the tensors under their names in the graphs."""
    weights = {}
    for name, value in model.state_dict().items():
        if value.ndim == 4 and name.endswith(".weight"):
            levels, scale = quantise(value.numpy())
            value.copy_(torch.from_numpy(levels * scale.astype(np.float32)))
            weights[name], weights[name.removesuffix("weight") + "scale"] = levels, scale
            continue
        half = value.half()
        assert torch.isfinite(half).all(), f"{name} does not fit f16"
        value.copy_(half.float())
        weights[name] = half.numpy()
    # SpaceToDepth orders its channels (dy, dx, colour), torch's pixel_unshuffle (colour, dy, dx).
    stem = weights["encoder.stem.weight"]
    stem = stem.reshape(FINE, 3, 16, 3, 3).transpose(0, 2, 1, 3, 4).reshape(FINE, 48, 3, 3)
    weights["encoder.stem.weight"] = np.ascontiguousarray(stem)
    return weights


def compare(model, encoder, decoder, images):
    """Runs the written graphs in ONNX Runtime next to torch."""
    runs = [onnxruntime.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"]) for m in (encoder, decoder)]
    worst_latent, worst_pixel, differing, total, errors = 0.0, 0, 0, 0, []
    # Odd shapes show a swapped axis or a border that is wrong.
    for image, height, width in zip(images, (320, 64, 8, 200), (320, 256, 24, 104)):
        image = image[None, :height, :width].contiguous()
        latent = runs[0].run(None, {"pixels": image.numpy()})[0]
        expected = model.encoder(unit(image))
        assert latent.dtype == np.float16 and latent.shape == tuple(expected.shape)
        worst_latent = max(worst_latent, float((torch.from_numpy(latent).float() - expected.half().float()).abs().max()))
        pixels = runs[1].run(None, {"latent": latent})[0]
        expected = to_bytes(model.decoder(torch.from_numpy(latent).float())).permute(0, 2, 3, 1).numpy()
        assert pixels.dtype == np.uint8 and pixels.shape == expected.shape
        step = np.abs(pixels.astype(int) - expected)
        worst_pixel, differing, total = max(worst_pixel, step.max()), differing + (step > 0).sum(), total + step.size
        errors.append(((pixels.astype(float) - image.numpy()) ** 2).mean())
    print(f"against torch: latents within {worst_latent:.5f}, pixels within {worst_pixel}, {differing} of {total} differ")
    assert worst_latent <= 0.02 and worst_pixel <= 1 and differing < total * 0.001
    psnr = 10 * np.log10(255**2 / np.array(errors))
    print(f"PSNR of the graphs on held-out images: {psnr.round(2).tolist()} dB")


def part(model, name, out, shape):
    """Writes one graph; returns what the manifest says of it and of its file."""
    path = out / f"{name}.onnx"
    data = model.SerializeToString(deterministic=True)
    path.write_bytes(data)
    learned = [t for t in model.graph.initializer if t.data_type != graph.TensorProto.FLOAT]
    half = {
        "file": path.name,
        "parameters": int(sum(np.prod(t.dims) for t in learned)),
        "gflop_512": round(graph.gflop(model, shape), 2),
        "tiles": TILES[name],
        "pixels": {"name": "pixels", "element": "u8", "layout": "nhwc", "range": [0, 255]},
        "latent": {"name": "latent", "element": "f16"},
    }
    return half, {"name": path.name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--weights", type=Path, required=True, help="the checkpoint that train.py wrote")
    parser.add_argument("--out", type=Path, help="folder for the graphs and the manifest")
    parser.add_argument("--keep", type=Path, help="file for the weights alone, in f16, which train.py can start from")
    args = parser.parse_args()
    checkpoint = torch.load(args.weights, map_location="cpu", weights_only=True)
    if args.keep:
        model = Autoencoder()
        model.load_state_dict(checkpoint["ema"])
        stored.save(args.keep, model)
    if args.out:
        export(checkpoint, args.out)


def export(checkpoint, out):
    images = held_out(STATISTICS_SEED, STATISTICS_IMAGES, "cpu")
    model = normal_form(checkpoint["ema"], images)
    tensors = small_weights(model)
    encoder, decoder = graph.encoder(tensors), graph.decoder(tensors)
    compare(model, encoder, decoder, images)

    out.mkdir(parents=True, exist_ok=True)
    ours = {name: value for name, value in tensors.items() if name.startswith("encoder.")}
    halves, files = zip(
        part(encoder, "encoder", out, (1, 512, 512, 3)),
        part(decoder, "decoder", out, (1, 4, 64, 64)),
    )
    manifest = {
        "manifest_version": 1,
        "name": "tiny",
        "family": FAMILY,
        "latent_space": "tiny-2",
        "latent_channels": LATENT_CHANNELS,
        "spatial_compression_ratio": COMPRESSION,
        "scaling_factor": 1.0,
        "shift_factor": 0.0,
        "config": CONFIG,
        "fingerprint": fingerprint(FAMILY, CONFIG, ours),
        "license": "MIT OR Apache-2.0",
        "source": "trained by onnx/train/train.py on images it draws itself",
        "encoder": halves[0],
        "decoder": halves[1],
        "files": list(files),
        "training": {
            "calls": checkpoint["calls"],
            "steps": checkpoint["step"],
            "minutes": round(checkpoint["seconds"] / 60, 1),
        },
    }
    beside = out / "manifest.json.new"
    beside.write_text(json.dumps(manifest, indent=2) + "\n")
    os.replace(beside, out / "manifest.json")
    for name in ("encoder", "decoder"):
        print(name, {key: manifest[name][key] for key in ("parameters", "gflop_512")}, (out / f"{name}.onnx").stat().st_size, "bytes")


if __name__ == "__main__":
    main()
