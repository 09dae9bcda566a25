"""The loop that people write: open each photograph, run the encoder, save the latent with np.savez.

Arguments: the encoder's ONNX file, the folder of photographs, a folder for the latents. Prints what was measured.
"""

import json
import os
import resource
import sys
import time

import numpy as np
import onnxruntime
from PIL import Image

graph, photos, latents = sys.argv[1:]
session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name


def encode(path):
    pixels = np.asarray(Image.open(path).convert("RGB"))[None]
    return session.run(None, {name: pixels})[0][0].astype(np.float32)


names = sorted(os.listdir(photos))
encode(os.path.join(photos, names[0]))
begun, cpu = time.perf_counter(), time.process_time()
for photo in names:
    latent = encode(os.path.join(photos, photo))
    np.savez(os.path.join(latents, os.path.splitext(photo)[0]), latents=latent)
wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
begun = time.perf_counter()
for latent in sorted(os.listdir(latents)):
    np.load(os.path.join(latents, latent))["latents"]
read = time.perf_counter() - begun
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"wall": wall, "cpu": cpu, "read": read, "peak": peak}))
