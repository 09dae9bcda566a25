"""Tiles beside the whole image, by the program itself: quality, seconds and peak memory, as docs/tiles.md has them.

    python3 onnx/bench/tiles.py images --shared ../shared
    python3 onnx/bench/tiles.py quality --latentdb target/release/latentdb --models DIR --model taef2 --image photo.png
        [--tiles 512:128 512:64] [--work DIR]
    python3 onnx/bench/tiles.py memory --latentdb target/release/latentdb --models DIR --model tiny --image photo.jpg
        [--tiles off auto] [--memory 500M]

Needs NumPy, Pillow and safetensors. `images` makes the pictures of the tables of four Kodak photos: composed.png, 1536x1024,
middles of it of other sizes, and, of the same made larger, with noise, 12mp.jpg and 48mp.jpg. `quality` compares with `--tile off`, and runs tiles twice: as they are, and "plain",
without the statistics of the whole, as a model runs that was imported by a version that knew no tiles. Its columns, for
latents in deviations of their channel and for pixels in levels of 255:

- RMS and the largest of the differences, and for pixels their PSNR;
- tone: the largest mean difference of a channel over a tile;
- seam: how much steeper differences are on the worst line in an overlap than on lines outside of all overlaps. A step
  between tiles of one level all along a line would be 1.
"""

import argparse
import json
import math
import os
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import load_file

CELL = 8
# The photos that tile_norms.py looks at; all lie on their long side.
KODAK = (1, 7, 13, 16)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["images", "quality", "memory"])
    parser.add_argument("--shared", type=Path, help="where images/kodak is")
    parser.add_argument("--latentdb", type=Path, help="the program")
    parser.add_argument("--models", type=Path, help="the folder of models")
    parser.add_argument("--model")
    parser.add_argument("--image", type=Path)
    parser.add_argument("--tiles", nargs="+", default=["512:128"], help="values of --tile")
    parser.add_argument("--memory", default="4G", help="value of --memory")
    parser.add_argument("--work", type=Path, default=Path("target/bench-tiles"), help="where stores and results go")
    args = parser.parse_args()
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    Image.MAX_IMAGE_PIXELS = None
    args.work.mkdir(parents=True, exist_ok=True)
    wanted = ("shared",) if args.what == "images" else ("latentdb", "models", "model", "image")
    for name in wanted:
        if getattr(args, name) is None:
            parser.error(f"{args.what} needs --{name}")
    if args.what == "images":
        return images(args)
    args.latentdb = args.latentdb.resolve()
    (quality if args.what == "quality" else memory)(args)


def images(args):
    photos = [Image.open(args.shared / f"images/kodak/kodim{number:02}.png").convert("RGB") for number in KODAK]
    composed = Image.new("RGB", (1536, 1024))
    for at, photo in enumerate(photos):
        composed.paste(photo, (at % 2 * 768, at // 2 * 512))
    composed.save(args.work / "composed.png")
    for width, height in ((1024, 1024), (768, 512), (512, 512), (384, 256)):
        left, top = (1536 - width) // 2, (1024 - height) // 2
        composed.crop((left, top, left + width, top + height)).save(args.work / f"{width}x{height}.png")
    for width, height, name in ((4000, 3000, "12mp"), (8000, 6000, "48mp")):
        larger = np.asarray(composed.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
        noise = np.random.default_rng(0).integers(-6, 7, (height, width, 1), dtype=np.int16)
        Image.fromarray((larger + noise).clip(0, 255).astype(np.uint8)).save(args.work / f"{name}.jpg", quality=92)


def run(args, models, *command):
    """Runs the program; returns seconds and peak bytes of resident memory."""
    base = [args.latentdb, "--db", args.work / "store", "--models", models, "--provider", "cpu", "--memory", args.memory]
    start = time.perf_counter()
    child = subprocess.Popen([*base, *command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"error: {command} failed")
    return time.perf_counter() - start, usage.ru_maxrss * 1024


def encode(args, models, tile):
    """The latent [C, h, w] that an encoder gives, with what it cost."""
    cost = run(args, models, "--tile", tile, "put", "image", args.image, "--encoder", args.model, "--replace")
    kept = args.work / "latent.safetensors"
    run(args, models, "get", "image", "--latent", "-o", kept)
    return load_file(kept)["latent"].astype(np.float64), cost


def decode(args, models, tile):
    """The picture [3, H, W] of the record that is there."""
    out = args.work / "out.png"
    cost = run(args, models, "--tile", tile, "get", "image", "--decoder", args.model, "-o", out)
    return np.asarray(Image.open(out).convert("RGB")).astype(np.float64).transpose(2, 0, 1), cost


def without_statistics(args):
    """A folder with the model as it was imported before there were graphs for tiles."""
    folder = args.work / "plain-models"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(args.models / args.model, folder / args.model, copy_function=os.link)
    path = folder / args.model / "manifest.json"
    manifest = json.loads(path.read_text())
    for half in ("encoder", "decoder"):
        (manifest[half] or {}).pop("tiles", None)
    path.unlink()
    path.write_text(json.dumps(manifest))
    return folder


def spans(length, size, overlap):
    """Where tiles lie along a line of cells, as src/tile.rs has it: starts, and the length of each."""
    size = min(size, length)
    gaps = -(-(length - size) // (size - overlap))
    size = min(size, max(2 * overlap, -(-(length + gaps * overlap) // (gaps + 1))))
    return [n * (length - size) // max(1, gaps) for n in range(gaps + 1)], size


def compared(difference, tile, place):
    """RMS, maximum, tone and seam of a difference [C, H, W] for tiles of so many cells; a cell is `place` places."""
    _, height, width = difference.shape
    size, overlap = (int(part) // CELL for part in tile.split(":"))
    lines = [spans(-(-side // place), size, overlap) for side in (height, width)]
    (tops, rows), (lefts, columns) = lines
    tones = [
        np.abs(difference[:, y * place : (y + rows) * place, x * place : (x + columns) * place].mean((1, 2))).max()
        for y in tops
        for x in lefts
    ]
    mean, seam = difference.mean(0), 0.0
    for axis, (starts, length) in enumerate(lines):
        steps = np.abs(np.diff(mean, axis=axis)).mean(1 - axis)
        shared = np.zeros(len(steps), bool)
        for before, after in zip(starts, starts[1:]):
            shared[max(0, after * place - 1) : (before + length) * place] = True
        if shared.any() and not shared.all():
            seam = max(seam, steps[shared].max() - steps[~shared].mean())
    return math.sqrt((difference**2).mean()), np.abs(difference).max(), max(tones), seam


def quality(args):
    plain = without_statistics(args)
    whole, whole_cost = encode(args, args.models, "off")
    picture, picture_cost = decode(args, args.models, "off")
    original = np.asarray(Image.open(args.image).convert("RGB")).astype(np.float64).transpose(2, 0, 1)
    print(f"\n{args.model}, {args.image.name}, {original.shape[2]}x{original.shape[1]}; whole: {whole_cost[0]:.0f} s to encode, {picture_cost[0]:.0f} s to decode, {psnr(picture - original):.2f} dB against the original\n")
    print("| half | tiles | norms | RMS | largest | PSNR | tone | seam | seconds |\n|---|---|---|---|---|---|---|---|---|")
    deviation = whole.std((1, 2), keepdims=True)
    for tile in args.tiles:
        for name, models in (("plain", plain), ("statistics", args.models)):
            found, cost = encode(args, models, tile)
            row("encoder", tile, name, compared((found - whole) / deviation, tile, 1), None, cost)
    # Both decode the latent of the whole.
    encode(args, args.models, "off")
    for tile in args.tiles:
        for name, models in (("plain", plain), ("statistics", args.models)):
            found, cost = decode(args, models, tile)
            shutil.copy(args.work / "out.png", args.work / f"{args.model}-{name}-{tile.replace(':', '-')}.png")
            difference = found - picture
            row("decoder", tile, name, compared(difference, tile, CELL), psnr(difference), cost)


def row(half, tile, name, figures, decibels, cost):
    rms, largest, tone, seam = figures
    shown = f"{decibels:.1f} dB" if decibels else ""
    print(f"| {half} | {tile} | {name} | {rms:.3f} | {largest:.2f} | {shown} | {tone:.3f} | {seam:.3f} | {cost[0]:.0f} |", flush=True)


def psnr(difference):
    return 10 * math.log10(255**2 / max(1e-9, (difference**2).mean()))


def memory(args):
    width, height = Image.open(args.image).size
    print(f"| {args.model} | image | --tile | --memory | seconds | peak MB |\n|---|---|---|---|---|---|")
    for tile in args.tiles:
        for half, work in (("encoder", encode), ("decoder", decode)):
            seconds, peak = work(args, args.models, tile)[1]
            print(f"| {half} | {width}x{height} | {tile} | {args.memory} | {seconds:.1f} | {peak / 1e6:.0f} |", flush=True)


if __name__ == "__main__":
    main()
