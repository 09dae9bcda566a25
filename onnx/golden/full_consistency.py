"""Imports a full-size consistency decoder of random weights and decodes with it: latentdb's graph beside torch.

    python3 onnx/golden/full_consistency.py --latentdb target/release/latentdb [--work DIR] [--size 256]

Prints how far one evaluation of the network is from diffusers', and wall seconds, CPU seconds and peak RSS of the import
and of each engine, each run in a process of its own. The row of `latentdb program` is all of `get`: two evaluations, with
loading and image files. It takes 6 GB of disk, 8 GB of memory and ten minutes of two cores.
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

from consistency import evaluate
from full import session

SEED = 1
TIME = 512
ENGINES = ("torch", "latentdb graph", "latentdb program")


def weights(work):
    """The diffusers folder, written once."""
    import torch
    from diffusers import ConsistencyDecoderVAE

    folder = work / "consistency-full"
    if not folder.exists():
        torch.manual_seed(SEED)
        ConsistencyDecoderVAE().save_pretrained(folder, max_shard_size="10GB")
    return folder


def given(size):
    rng = np.random.default_rng(SEED)
    latent = rng.normal(0, 5, (1, 4, size // 8, size // 8)).astype(np.float16)
    return latent, rng.standard_normal((1, 3, size, size)).astype(np.float32)


def child(engine, size, work, latentdb):
    """Runs one engine once; leaves its output in a file and prints what it cost."""
    latent, noisy = given(size)
    if engine == "torch":
        import torch
        from diffusers import ConsistencyDecoderVAE
        from diffusers.utils import logging

        logging.set_verbosity_error()
        model = ConsistencyDecoderVAE.from_pretrained(work / "consistency-full").eval()

        def run():
            with torch.inference_mode():
                return evaluate(model, torch.from_numpy(latent), torch.from_numpy(noisy), TIME).numpy()

    elif engine == "latentdb graph":
        loaded = session(work / "models/consistency/decoder.onnx")

        def run():
            return loaded.run(None, {"noisy": noisy, "latent": latent, "timestep": np.array([TIME])})[0]

    else:
        run = program(size, work, latentdb, latent)
    cost = measured(run, engine == "latentdb program")
    if cost["result"] is not None:
        np.save(work / "result.npy", cost["result"])
    print(json.dumps({key: value for key, value in cost.items() if key != "result"}))


def measured(run, in_child):
    who = resource.RUSAGE_CHILDREN if in_child else resource.RUSAGE_SELF
    before, start = resource.getrusage(who), time.perf_counter()
    result = run()
    wall, after = time.perf_counter() - start, resource.getrusage(who)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"result": result, "wall": wall, "cpu": cpu, "rss": after.ru_maxrss * 1024}


def program(size, work, latentdb, latent):
    """A call of the program itself; its result is a file."""
    from safetensors.numpy import save_file

    base = [latentdb, "--db", work / "consistency-store", "--models", work / "models", "--provider", "cpu"]
    kept = work / "kept.safetensors"
    save_file({"latent": latent[0]}, kept)
    put = ["put", "c", "--latent", kept, "--latent-space", "sd-v1", "--size", f"{size}x{size}", "--replace"]
    subprocess.run([*base, *put], check=True)
    return lambda: subprocess.run([*base, "get", "c", "--decoder", "consistency", "-o", work / "out.png"], check=True) and None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--latentdb", type=Path, required=True, help="the program")
    parser.add_argument("--work", type=Path, default=Path("target/golden-full"), help="where weights and results go")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    work, latentdb = args.work.resolve(), args.latentdb.resolve()
    if args.child:
        return child(args.child, args.size, work, latentdb)
    work.mkdir(parents=True, exist_ok=True)
    folder = weights(work)
    print(f"{'engine':18} {'difference':>10} {'wall s':>8} {'CPU s':>8} {'peak MB':>8}")

    def row(name, cost, difference=""):
        costs = f"{cost['wall']:8.2f} {cost['cpu']:8.2f} {cost['rss'] / 1e6:8.0f}"
        print(f"{name:18} {difference:>10} {costs}", flush=True)

    command = [latentdb, "--models", work / "models", "model", "import", folder, "--name", "consistency", "--replace"]
    row("import", measured(lambda: subprocess.run(command, check=True) and None, True))
    reference, worst = None, 0.0
    for engine in ENGINES:
        command = [sys.executable, __file__, "--latentdb", latentdb, "--work", work, "--size", str(args.size), "--child", engine]
        cost = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])
        if engine == "torch":
            reference = np.load(work / "result.npy")
            row(engine, cost)
        elif engine == "latentdb graph":
            worst = np.abs(np.load(work / "result.npy") - reference).max() / max(1, np.abs(reference).max())
            row(engine, cost, f"{worst:.1e}")
        else:
            row(engine, cost)
    print(f"difference of latentdb's graph to torch: {worst:.1e} of the largest value (bar 2e-5)")
    sys.exit(int(worst > 2e-5))


if __name__ == "__main__":
    main()
