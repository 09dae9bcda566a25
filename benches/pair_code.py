#!/usr/bin/env python3
"""The lengths of the Huffman code of pairs (src/record/coding/pairs/code.rs), from latents.

    python3 benches/pair_code.py LATENTS_FOLDER

Needs NumPy. Takes the `.npy` latents of the folder, finds for every segment of them the lowest exponent and the sign
that suit the code best, makes the code anew from all segments, and so on, ten times; prints the lengths as code.rs has
them. Then, for each latent, how many bytes 1,024 values take in a code made from the other latents, and in
one made from nothing but the latent, without the table that this would need.

The code in code.rs was made from `latents/sd`, eight latents of photographs in the space of Stable Diffusion. Stored
records were made with it: another one needs another number for the dictionary, and the old one stays.
"""

import sys
from pathlib import Path

import numpy as np

SEGMENT = 1024
MOST_BITS = 11
# Of an exception, of which a pair has at least one that has no code.
EXCEPTION_BITS = 40
# Pairs that are rarer than this have no code; to the others so much is added, so that chance counts less.
RARE, SMOOTH = 1e-5, 5e-6
# The bytes of pairs whose values have changed places.
SWAPPED = [b >> 3 & 7 | (b & 7) << 3 | (b >> 7 & 1) << 6 | (b >> 6 & 1) << 7 for b in range(256)]


def options(segment):
    """Counts of pairs for all lowest exponents, as they are and negated, and the bits of exceptions."""
    bits = segment.view(np.uint16).astype(int)
    exponent, sign = bits >> 10 & 31, bits >> 15
    counts, exceptions = [], []
    for lowest in range(16):
        above = exponent - lowest
        inside = (above >= 0) & (above < 16)
        classes = np.where(inside, above >> 1, 0)
        for negated in range(2):
            signs = sign ^ negated
            pairs = classes[::2] | classes[1::2] << 3 | signs[::2] << 6 | signs[1::2] << 7
            counts.append(np.bincount(pairs, minlength=256))
            exceptions.append(EXCEPTION_BITS * np.count_nonzero(~inside))
    return counts, exceptions


def read(path):
    values = np.load(path).astype(np.float16).reshape(-1)
    segments = values[: len(values) // SEGMENT * SEGMENT].reshape(-1, SEGMENT)
    counts, exceptions = zip(*map(options, segments))
    return np.array(counts), np.array(exceptions)


def lengths(weights):
    """The best lengths of at most MOST_BITS for bytes with these weights, 0 for those without (package-merge)."""
    items = sorted((weight, (byte,)) for byte, weight in enumerate(weights) if weight > 0)
    packages = []
    for _ in range(MOST_BITS):
        merged = sorted(items + packages, key=lambda item: item[0])
        packages = [(a[0] + b[0], a[1] + b[1]) for a, b in zip(merged[::2], merged[1::2])]
    result = np.zeros(256, int)
    for _, members in packages[: len(items) - 1]:
        np.add.at(result, list(members), 1)
    return result


def code_of(counts):
    share = (counts + counts[SWAPPED]) / (2 * counts.sum())
    return lengths(np.where(share > RARE, share + SMOOTH, 0))


def best(code, latent):
    """Bits of each segment in its best option, and the counts of pairs of all segments then."""
    counts, exceptions = latent
    bits = counts @ np.where(code > 0, code, EXCEPTION_BITS) + exceptions
    chosen = bits.argmin(1)
    return bits.min(1), counts[np.arange(len(counts)), chosen].sum(0)


def train(latents):
    # Where the exponents of Stable Diffusion's latents lie; after the first step each segment has its own.
    counts = sum(counts[:, 8].sum(0) / len(counts) for counts, _ in latents)
    for _ in range(10):
        code = code_of(counts)
        counts = sum(best(code, latent)[1] / len(latent[0]) for latent in latents)
    return code


def main():
    paths = sorted(Path(sys.argv[1]).glob("*.npy"))
    latents = [read(path) for path in paths]
    for block in train(latents).reshape(4, 8, 8):
        print("\n".join("     " + ", ".join(f"{length:2}" for length in row) + "," for row in block), end="\n\n")
    for at, path in enumerate(paths):
        bits, counts = best(train(latents[:at] + latents[at + 1 :]), latents[at])
        own = counts @ lengths(counts) / len(bits)
        print(f"{path.name}: {bits.mean() / 8:.1f} bytes for 1,024 values; in a code of its own {own / 8:.1f}")


if __name__ == "__main__":
    main()
