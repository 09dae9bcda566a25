"""The identity of an encoder: BLAKE3 over its family, configuration and weights, not over file bytes."""

import json
import struct

import numpy as np
from blake3 import blake3


ELEMENTS = {np.float16: b"f16\0", np.int8: b"i8\0"}


def fingerprint(family, config, weights):
    """Hex digest; README.md here says byte for byte what is hashed."""
    digest = blake3(b"latentdb-encoder-v1\n")
    digest.update(f"{family}\n".encode("ascii"))
    digest.update(json.dumps(config, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n")
    for name in sorted(weights):
        value = weights[name]
        digest.update(name.encode("ascii") + b"\0" + ELEMENTS[value.dtype.type])
        digest.update(struct.pack(f"<I{value.ndim}Q", value.ndim, *value.shape))
        digest.update(value.astype(value.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()
