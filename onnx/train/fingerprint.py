"""The identity of an encoder: BLAKE3 over its family, configuration and weights, not over file bytes."""

import json
import struct

import numpy as np
from blake3 import blake3


def fingerprint(family, config, weights):
    """Hex digest; README.md here says byte for byte what is hashed."""
    digest = blake3(b"latentdb-encoder-v1\n")
    digest.update(f"{family}\n".encode("ascii"))
    digest.update(json.dumps(config, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n")
    for name in sorted(weights):
        value = weights[name]
        assert value.dtype == np.float16
        digest.update(name.encode("ascii") + b"\0" + b"f16\0")
        digest.update(struct.pack(f"<I{value.ndim}Q", value.ndim, *value.shape))
        digest.update(value.astype("<f2").tobytes())
    return digest.hexdigest()
