"""Imports every golden case with latentdb and has onnx.checker look at every graph that it writes.

    python3 onnx/golden/checker.py target/release/latentdb
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import onnx

CASES = Path(__file__).resolve().parents[2] / "tests/golden"


def main():
    latentdb = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as models:
        for folder in sorted(CASES.iterdir()):
            case = json.loads((folder / "case.json").read_text())
            command = [latentdb, "--models", models, "model", "import", folder / case["path"], "--name", folder.name]
            if not case["latent_space_known"]:
                command += ["--latent-space", case["latent_space"]]
            subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        graphs = sorted(Path(models).glob("*/*.onnx"))
        for graph in graphs:
            # By path, so that the weights beside it are looked at too.
            onnx.checker.check_model(str(graph), full_check=True)
        print(f"onnx {onnx.__version__} accepts all {len(graphs)} graphs of {len(list(CASES.iterdir()))} cases")


if __name__ == "__main__":
    main()
