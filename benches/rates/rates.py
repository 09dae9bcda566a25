#!/usr/bin/env python3
"""Rate and quality on one picture: latents in every coding beside JPEG, WebP and AVIF.

    python3 benches/rates/rates.py LATENTDB --images DIR --models DIR --encoders tiny,... --out docs/rates

Runs `latentdb compare` on the photographs of DIR, once for each encoder and coding, and writes OUT.csv (means over the
photographs), OUT.svg and OUT.png. The curves of the codecs of image files go through the sizes that they were fitted to.
Needs matplotlib (benches/rates/requirements.txt). Takes a quarter of an hour on two cores, most of it AVIF.
"""

import argparse
import csv
import json
import subprocess
from pathlib import Path
from statistics import mean

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

CODINGS = ["fast", "dense", "q8", "q6", "q5", "q4"]
METRICS = [("psnr", "PSNR, dB"), ("ssimulacra2", "SSIMULACRA2")]
# Bits per pixel: from the coarsest tier of 4 channels to 32 channels without loss.
SHOWN = (0.09, 8.5)
COLOURS = {"jpeg": "#8a8a8a", "webp": "#5f9e5f", "avif": "#b07d3a"}
LATENTS = ["#1f4fbf", "#c0392b", "#7d3c98", "#16807a"]


def compared(latentdb, models, encoder, coding, images):
    """The contenders of all images: dictionaries with name, kind, bits_per_pixel and the metrics."""
    command = [latentdb, "--models", models, "compare", "--json", "--encoder", encoder, "--decoders", encoder, "--coding", coding]
    output = subprocess.run([*command, *images], check=True, capture_output=True, text=True).stdout
    return [contender for image in json.loads(output)["images"] for contender in image["contenders"]]


def means(name, coding, contenders):
    row = {"name": name, "coding": coding, "images": len(contenders)}
    row["bits_per_pixel"] = round(mean(c["bits_per_pixel"] for c in contenders), 4)
    for metric, _ in METRICS:
        row[metric] = round(mean(c[metric] for c in contenders), 3)
    return row


def measure(args):
    images = sorted(str(path) for path in args.images.glob("*.png"))
    rows = []
    for encoder in args.encoders:
        for coding in CODINGS:
            contenders = compared(args.latentdb, args.models, encoder, coding, images)
            rows.append(means(encoder, coding, [c for c in contenders if c["kind"] == "decoder"]))
            print(rows[-1], flush=True)
            for codec in COLOURS:
                of_codec = [c for c in contenders if c["kind"] == "codec" and c["name"] == codec]
                rows.append(means(codec, "", of_codec))
    return rows


def draw(rows, path):
    figure, panes = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
    for pane, (metric, title) in zip(panes, METRICS):
        names = list(dict.fromkeys(row["name"] for row in rows))
        latents = [name for name in names if name not in COLOURS]
        for name in names:
            points = sorted((row["bits_per_pixel"], row[metric], row["coding"]) for row in rows if row["name"] == name)
            x, y = [point[0] for point in points], [point[1] for point in points]
            if name in COLOURS:
                pane.plot(x, y, color=COLOURS[name], linewidth=1.2, label={"jpeg": "JPEG", "webp": "WebP", "avif": "AVIF"}[name])
                continue
            colour = LATENTS[latents.index(name)]
            pane.plot(x, y, color=colour, linewidth=1.8, marker="o", markersize=4, label=name)
            # The names of codings stand above the first curve and below the others, which it would meet.
            up = 5 if name == latents[0] else -11
            for bits, value, coding in points:
                side = {"dense": "right", "fast": "left"}.get(coding, "center")
                pane.annotate(coding, (bits, value), (0, up), textcoords="offset points", ha=side, fontsize=7, color=colour)
        pane.set_xscale("log")
        pane.set_xlim(*SHOWN)
        ticks = [0.1, 0.25, 0.5, 1, 2, 4, 8]
        pane.set_xticks(ticks, [str(tick) for tick in ticks])
        pane.minorticks_off()
        pane.set_xlabel("bits per pixel, all of the record or file counted")
        pane.set_ylabel(title)
        pane.grid(color="#dddddd", linewidth=0.6)
        pane.spines[["top", "right"]].set_visible(False)
    panes[0].set_ylim(20, 42)
    panes[1].set_ylim(-60, None)
    panes[0].legend(frameon=False, fontsize=9)
    figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    figure.savefig(path.with_suffix(".png"), dpi=110, metadata={"Software": None})


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("latentdb", help="the program")
    parser.add_argument("--images", type=Path, required=True, help="folder of photographs (.png)")
    parser.add_argument("--models", required=True, help="folder of the models that aren't built in")
    parser.add_argument("--encoders", type=lambda text: text.split(","), required=True)
    parser.add_argument("--out", type=Path, required=True, help="path of what is written, without its ending")
    parser.add_argument("--redraw", action="store_true", help="draw OUT.csv again, and measure nothing")
    args = parser.parse_args()
    table = args.out.with_suffix(".csv")
    if args.redraw:
        with table.open(newline="") as file:
            rows = [{**row, **{key: float(row[key]) for key in ("bits_per_pixel", "psnr", "ssimulacra2")}} for row in csv.DictReader(file)]
    else:
        rows = measure(args)
        with table.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    plt.rcParams["svg.hashsalt"] = "latentdb"
    draw(rows, args.out)


if __name__ == "__main__":
    main()
