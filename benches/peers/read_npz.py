"""Writes latents as `.npz` files, then reads all of them whenever told to and says how many seconds that took.

Arguments: a file of raw f16 latents of 4x64x64, a folder to make. Each line of stdin is `f32` or `f16`, then
`order` or `random`; each answer is one line.
"""

import os
import random
import sys
import time

import numpy


def main():
    raw, folder = sys.argv[1:]
    latents = numpy.fromfile(raw, dtype="<f2").reshape(-1, 4, 64, 64)
    paths = {}
    for tag in ("f32", "f16"):
        os.makedirs(os.path.join(folder, tag))
        paths[tag] = [os.path.join(folder, tag, f"{at:08}.npz") for at in range(len(latents))]
    for at, latent in enumerate(latents):
        numpy.savez(paths["f32"][at], latents=latent.astype(numpy.float32))
        numpy.savez_compressed(paths["f16"][at], latents=latent)
    for tag in paths:
        with numpy.load(paths[tag][-1]) as file:
            assert (file["latents"].astype(numpy.float16) == latents[-1]).all()
    print("ready", flush=True)
    for line in sys.stdin:
        tag, order = line.split()
        names = list(paths[tag])
        if order == "random":
            random.Random(5).shuffle(names)
        start = time.perf_counter()
        for name in names:
            with numpy.load(name) as file:
                file["latents"]
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
