"""Compares full-size Stable Diffusion VAEs of random weights: latentdb's graphs, the plain torch export, torch.

    python3 onnx/golden/full.py --latentdb target/release/latentdb [--work DIR] [--sizes 512 1024]

Prints, for encoder and decoder at each size: how far the f32 values before the last cast are from torch's, and wall
seconds, CPU seconds and peak RSS of each engine, each run in a process of its own. The rows of `latentdb` are the
whole program, with loading, image files and the store; all others are one run of a loaded model.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

SEED = 1
ENGINES = ("torch", "plain export", "latentdb graph", "latentdb program")


def prepare(work, latentdb):
    """Writes the diffusers folder, its import, and the plain exports, once."""
    import torch
    from diffusers import AutoencoderKL

    torch.manual_seed(SEED)
    folder = work / "sd-full"
    if not folder.exists():
        model = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            latent_channels=4,
        )
        model.save_pretrained(folder)
    subprocess.run(
        [latentdb, "--models", work / "models", "model", "import", folder, "--name", "full", "--replace"], check=True
    )
    model = AutoencoderKL.from_pretrained(folder).eval()
    for half in ("encoder", "decoder"):
        plain = work / f"plain-{half}.onnx"
        if not plain.exists():
            module, example = wrap(model, half), (1, 3, 64, 64) if half == "encoder" else (1, 4, 8, 8)
            axes = {0: "batch", 2: "height", 3: "width"}
            torch.onnx.export(
                module, (torch.zeros(example),), plain, opset_version=18, dynamo=False,
                input_names=["x"], output_names=["y"], dynamic_axes={"x": axes, "y": axes},
            )  # fmt: skip


def wrap(model, half):
    """The half as a module from f32 pixels or latents to f32 means or pixels."""
    import torch

    class Half(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model.requires_grad_(False)

        def forward(self, x):
            if half == "encoder":
                return self.model.quant_conv(self.model.encoder(x))[:, :4]
            return self.model.decoder(self.model.post_quant_conv(x))

    return Half()


def picture(size):
    """A u8 image with edges, gradients and noise."""
    y, x = np.mgrid[0:size, 0:size]
    noise = np.random.default_rng(SEED).normal(0, 8, (size, size, 3))
    base = np.stack([x * 255 / size, y * 255 / size, 128 + 90 * np.sin(x / 17) * np.cos(y / 23)], -1)
    base[(x // 64 + y // 48) % 3 == 0] += 40
    return (base + noise).clip(0, 255).astype(np.uint8)


def latent(size):
    return np.random.default_rng(SEED).normal(0, 3, (1, 4, size // 8, size // 8)).astype(np.float16)


def session(path, extra=None):
    """A session in onnxruntime with latentdb's own options; `extra` becomes an output too."""
    import onnx
    import onnxruntime

    if extra:
        model = onnx.load(path, load_external_data=False)
        model.graph.output.append(onnx.helper.make_tensor_value_info(extra, onnx.TensorProto.FLOAT, None))
        path = path.with_name(f"shown-{path.name}")
        onnx.save(model, path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def child(engine, half, size, work, latentdb):
    """Runs one half once; leaves the f32 result in a file and prints what it cost."""
    image, z = picture(size), latent(size)
    chw = (image.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)[None]
    x = np.ascontiguousarray(chw) if half == "encoder" else z.astype(np.float32)
    if engine == "torch":
        import torch
        from diffusers import AutoencoderKL

        module = wrap(AutoencoderKL.from_pretrained(work / "sd-full").eval(), half)
        given = torch.from_numpy(x)

        def run():
            with torch.inference_mode():
                return module(given).numpy()

    elif engine == "plain export":
        loaded = session(work / f"plain-{half}.onnx")

        def run():
            return loaded.run(None, {"x": x})[0]

    elif engine == "latentdb graph":
        name, shown = ("pixels", "mean") if half == "encoder" else ("latent", "image")
        given = image[None] if half == "encoder" else z
        loaded = session(work / "models/full" / f"{half}.onnx", shown)

        def run():
            found = loaded.run([shown], {name: given})[0]
            return found if half == "encoder" else found * 2 - 1

    else:
        run = program(half, size, work, latentdb, image, z)
    who = resource.RUSAGE_CHILDREN if engine == "latentdb program" else resource.RUSAGE_SELF
    before, start = resource.getrusage(who), time.perf_counter()
    result = run()
    wall, after = time.perf_counter() - start, resource.getrusage(who)
    if result is not None:
        np.save(work / "result.npy", result)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"wall": wall, "cpu": cpu, "rss": after.ru_maxrss * 1024}))


def program(half, size, work, latentdb, image, z):
    """A call of the program itself that puts or gets one image; its results are files."""
    from PIL import Image
    from safetensors.numpy import load_file, save_file

    base = [latentdb, "--db", work / "store", "--models", work / "models", "--provider", "cpu"]

    def call(*args):
        subprocess.run([*base, *args], check=True)

    source, kept, decoded = work / "in.png", work / "kept.safetensors", work / "out.png"
    if half == "encoder":
        Image.fromarray(image).save(source)
        return lambda: call("put", "a", source, "--encoder", "full", "--replace")
    save_file({"latent": z[0]}, kept)
    call("put", "b", "--latent", kept, "--latent-space", "sd-v1", "--size", f"{size}x{size}", "--replace")
    return lambda: call("get", "b", "--decoder", "full", "-o", decoded)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--latentdb", type=Path, required=True, help="the program")
    parser.add_argument("--work", type=Path, default=Path("target/golden-full"), help="where weights, exports and results go")
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    work, latentdb = args.work.resolve(), args.latentdb.resolve()
    if args.child:
        engine, half, size = args.child
        return child(engine, half, int(size), work, latentdb)
    work.mkdir(parents=True, exist_ok=True)
    prepare(work, latentdb)
    worst = 0.0
    print(f"{'half':8} {'size':>5} {'engine':18} {'difference':>10} {'wall s':>8} {'CPU s':>8} {'peak MB':>8}")
    for half in ("encoder", "decoder"):
        for size in args.sizes:
            reference = None
            for engine in ENGINES:
                command = [sys.executable, __file__, "--latentdb", latentdb, "--work", work, "--child", engine, half, str(size)]
                cost = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
                difference = ""
                if engine == "torch":
                    reference = np.load(work / "result.npy")
                elif engine != "latentdb program":
                    apart = np.abs(np.load(work / "result.npy") - reference).max() / max(1, np.abs(reference).max())
                    worst = max(worst, apart if engine == "latentdb graph" else 0)
                    difference = f"{apart:.1e}"
                print(
                    f"{half:8} {size:>5} {engine:18} {difference:>10} {cost['wall']:8.2f} {cost['cpu']:8.2f} {cost['rss'] / 1e6:8.0f}",
                    flush=True,
                )
    print(f"largest difference of latentdb's graphs to torch: {worst:.1e} of the largest value (bar 2e-5)")
    sys.exit(int(worst > 2e-5))


if __name__ == "__main__":
    main()
