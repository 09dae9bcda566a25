"""Images a second of the full-size Stable Diffusion VAE: latentdb beside diffusers, eager and compiled, in one run.

    cargo build --release --example throughput --bin latentdb
    target/release/latentdb runtime install --cuda
    python3 onnx/bench/gpu.py [--device cuda] [--sizes 512 1024] [--batches 1 4 16] [--seconds 10]
    python3 onnx/bench/gpu.py --consistency [--sizes 256 512]   # a full-size consistency decoder, two steps, one by one

All of them take u8 pixels in the computer's memory and leave f16 latents there, and back. diffusers runs in f16 with
channels_last, latentdb in f16 as it does by itself on a GPU. The weights are random: speed doesn't depend on them.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, ConsistencyDecoderVAE

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "onnx/golden"))

from full import latent, picture, prepare  # noqa: E402
from full_consistency import weights  # noqa: E402


def diffusers_calls(folder, device, compiled):
    """Functions that encode and decode a batch, as a careful user of diffusers would write them."""
    model = AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float16).to(device).eval()
    model = model.to(memory_format=torch.channels_last)
    if compiled:
        model.encoder = torch.compile(model.encoder)
        model.decoder = torch.compile(model.decoder)

    @torch.inference_mode()
    def encode(images):
        x = torch.from_numpy(images).to(device, non_blocking=True).permute(0, 3, 1, 2).half() / 127.5 - 1
        return model.encode(x).latent_dist.mean.cpu().numpy()

    @torch.inference_mode()
    def decode(latents):
        x = model.decode(torch.from_numpy(latents).to(device, non_blocking=True)).sample
        return ((x / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()

    return encode, decode


def rate(call, given, seconds):
    """Items a second over `seconds`, after a call that compiles and warms up."""
    call(given)
    calls, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        call(given)
        calls += 1
    return calls * len(given) / (time.perf_counter() - start)


def latentdb(args, model, size, batches):
    """Half, batch and images a second of latentdb, as `examples/throughput` prints them."""
    precision = "f16" if args.device != "cpu" else "f32"
    command = [args.target / "examples/throughput", model, args.device, precision, f"models={args.work / 'models'}"]
    settings = {"sizes": [size], "batches": batches, "seconds": [args.seconds]}
    command += [f"{key}={','.join(map(str, values))}" for key, values in settings.items()]
    for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[1:]:
        half, _, batch, _, images, *_ = line.split()
        yield half, batch, images


def consistency(args):
    """The consistency decoder of latentdb and of diffusers, from f16 latents to bytes, two steps."""
    folder = weights(args.work)
    models = ["--models", args.work / "models"]
    command = [args.target / "latentdb", *models, "model", "import", folder, "--name", "consistency", "--replace"]
    subprocess.run(command, check=True)
    model = ConsistencyDecoderVAE.from_pretrained(folder, torch_dtype=torch.float16).to(args.device).eval()

    @torch.inference_mode()
    def decode(latents):
        x = model.decode(torch.from_numpy(latents).to(args.device)).sample
        return ((x / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()

    for size in args.sizes:
        for half, batch, images in latentdb(args, "consistency", size, [1]):
            if half == "decode":
                print(f"{'latentdb':17} {half:7} {size:>5} {batch:>6} {images:>9}", flush=True)
        found = rate(decode, latent(size), args.seconds)
        print(f"{'diffusers':17} {'decode':7} {size:>5} {1:>6} {found:9.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--consistency", action="store_true", help="the consistency decoder instead")
    parser.add_argument("--target", type=Path, default=ROOT / "target/release", help="where cargo built latentdb")
    parser.add_argument("--work", type=Path, default=ROOT / "target/golden-full", help="where the weights go")
    args = parser.parse_args()
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    args.work.mkdir(parents=True, exist_ok=True)
    print("engine            half     size  batch  images/s")
    if args.consistency:
        return consistency(args)
    prepare(args.work, args.target / "latentdb")
    for size in args.sizes:
        for half, batch, images in latentdb(args, "full", size, args.batches):
            print(f"{'latentdb':17} {half:7} {size:>5} {batch:>6} {images:>9}", flush=True)
        for name, compiled in (("diffusers", False), ("diffusers compile", True)):
            encode, decode = diffusers_calls(args.work / "sd-full", args.device, compiled)
            for batch in args.batches:
                images = np.repeat(picture(size)[None], batch, 0)
                latents = np.repeat(latent(size), batch, 0)
                for half, call, given in (("encode", encode, images), ("decode", decode, latents)):
                    found = rate(call, given, args.seconds)
                    print(f"{name:17} {half:7} {size:>5} {batch:>6} {found:9.2f}", flush=True)


if __name__ == "__main__":
    main()
