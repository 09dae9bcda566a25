"""Writes tests/foreign: ONNX files as people export them, good and bad, and what torch computes with the same weights.

    python3 onnx/golden/foreign.py [--out tests/foreign]
"""

import argparse
import shutil
import warnings
import zlib
from pathlib import Path

import numpy as np
import onnx
import torch
from diffusers.utils import logging
from onnx import TensorProto, helper
from safetensors.torch import save_file
from torch import nn

import models
from cases import F32, kl
from make import ROOT, padded, pictures, reference

LEGACY = {"dynamo": False, "opset_version": 17}
# The autoencoder that diffusers users export, as small as its architecture gets.
KL = kl("kl", "sd-v1", F32, (4, 4, 4, 4), layers_per_block=1, mid_block_add_attention=False)
# Its example input has another size than any picture of the golden values.
EXAMPLE = (1, 3, 64, 48)


class Pool(nn.Module):
    """An autoencoder of a few layers that is good at smooth pictures: it keeps the mean colour of 8x8 pixels."""

    def __init__(self):
        super().__init__()
        to_latent = torch.tensor([[2, 0, 0], [0, 2, 0], [0, 0, 2], [0.5, 1, 0.5]])
        spread = torch.tensor([[0.1, 0, 0], [0, 0.2, 0], [0, 0, 0.3], [0.1, 0.1, 0.1]])
        self.encoder = nn.Conv2d(3, 8, 1)
        self.encoder.weight.copy_(torch.cat([to_latent, spread]).view(8, 3, 1, 1))
        self.encoder.bias.copy_(torch.tensor([0.25, -0.5, 0.75, 0, -1, -1, -2, -2]))
        self.decoder = nn.Conv2d(4, 3, 1)
        self.decoder.weight.copy_(torch.tensor([[0.5, 0, 0, 0], [0, 0.5, 0, 0], [0, 0, 0.5, 0]]).view(3, 4, 1, 1))
        self.decoder.bias.copy_(torch.tensor([-0.125, 0.25, -0.375]))

    def parameters_of(self, x):
        """Mean and log-variance."""
        return self.encoder(nn.functional.avg_pool2d(x, 8))

    def decode(self, latent):
        return nn.functional.interpolate(self.decoder(latent), scale_factor=8.0, mode="nearest")


class Call(nn.Module):
    """A function of a model as a module, which is what exporters take."""

    def __init__(self, model, function):
        super().__init__()
        self.model = model
        self.function = function

    def forward(self, x):
        return self.function(self.model, x)


def sampled(parameters, noise=torch.randn_like):
    """What a posterior distribution's `sample` computes."""
    mean, logvar = parameters.chunk(2, 1)
    return mean + torch.exp(0.5 * logvar.clamp(-30, 20)) * noise(mean)


def sampled_before_a_layer(pool, x):
    x = nn.functional.avg_pool2d(x, 8)
    return pool.encoder(x + torch.randn_like(x)).chunk(2, 1)[0]


def from_bytes(pool, x):
    return pool.parameters_of(x.permute(0, 3, 1, 2).float() / 127.5 - 1).chunk(2, 1)[0]


def to_bytes(pool, latent):
    image = (pool.decode(latent) + 1) * 127.5
    return image.round().clamp(0, 255).permute(0, 2, 3, 1).to(torch.uint8)


def legacy(path, model, function, outputs, example=EXAMPLE, dtype=torch.float32, sides=(2, 3), name="sample", fixed=()):
    """Exports through TorchScript, as optimum does; the batch and `sides` are free, but for those that are `fixed`."""
    free = {dim: f"{name}_{dim}" for dim in (0, *sides) if dim not in fixed}
    example = torch.zeros(example, dtype=dtype)
    warnings.simplefilter("ignore")
    torch.onnx.export(
        Call(model, function).eval(),
        (example,),
        path,
        input_names=[name],
        output_names=outputs,
        dynamic_axes={name: free} if free else None,
        **LEGACY,
    )


def dynamo(path, model, function, output, external=False):
    """Exports through torch.export, as torch does now unless told otherwise."""
    free = torch.export.Dim.DYNAMIC
    torch.onnx.export(
        Call(model, function).eval(),
        (torch.randn(EXAMPLE),),
        path,
        input_names=["sample"],
        output_names=[output],
        dynamic_shapes=({0: free, 2: free, 3: free},),
        dynamo=True,
        external_data=external,
        verbose=False,
    )
    strip(path)


def strip(path):
    """Takes out the traces of where the exporter was run, which are most of the file."""
    model = onnx.load(path, load_external_data=False)
    graph = model.graph
    for part in [model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer]:
        del part.metadata_props[:]
        part.doc_string = ""
    onnx.save(model, path)


def chance_in_a_branch(path):
    """A graph that draws its noise inside of an `If`."""
    noise = helper.make_node("RandomNormalLike", ["pooled"], ["noise"])
    noisy = helper.make_node("Add", ["pooled", "noise"], ["noisy"])
    plain = helper.make_node("Identity", ["pooled"], ["plain"])
    shape = ["batch", 3, "rows", "columns"]
    branch = lambda name, nodes, output: helper.make_graph(
        nodes, name, [], [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)]
    )
    nodes = [
        helper.make_node("AveragePool", ["x"], ["pooled"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("ReduceMax", ["x"], ["brightest"], keepdims=0),
        helper.make_node("Greater", ["brightest", "dark"], ["is_bright"]),
        helper.make_node(
            "If",
            ["is_bright"],
            ["latent"],
            then_branch=branch("then", [noise, noisy], "noisy"),
            else_branch=branch("else", [plain], "plain"),
        ),
    ]
    save(path, nodes, [], dark=np.float32(-10))


def chance_in_a_function(path):
    """A graph whose noise is drawn by a function of the file's own."""
    noise = helper.make_node("RandomNormalLike", ["mean"], ["noise"])
    add = helper.make_node("Add", ["mean", "noise"], ["sample"])
    opset = [helper.make_opsetid("", 17)]
    function = helper.make_function("mine", "Sample", ["mean"], ["sample"], [noise, add], opset)
    nodes = [
        helper.make_node("AveragePool", ["x"], ["pooled"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Sample", ["pooled"], ["latent"], domain="mine"),
    ]
    save(path, nodes, [function])


def save(path, nodes, functions, **constants):
    """A model of `nodes` from `x` to `latent`."""
    info = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    graph = helper.make_graph(
        nodes,
        "encoder",
        [info("x", ["batch", 3, "height", "width"])],
        [info("latent", ["batch", 3, "rows", "columns"])],
        [onnx.numpy_helper.from_array(np.array(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    model = helper.make_model(graph, functions=functions, opset_imports=opsets, ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def golden(case, model, inputs):
    values = {}
    for n, pixels in enumerate(inputs):
        values |= {f"{key}.{n}": value for key, value in reference(case, model, pixels).items()}
    return values


def golden_of_pool(pool, inputs):
    values = {}
    for n, pixels in enumerate(inputs):
        x = padded(pixels, 8).permute(0, 3, 1, 2).float() / 255 * 2 - 1
        mean = pool.parameters_of(x).chunk(2, 1)[0].contiguous()
        latent = mean.half()
        image = pool.decode(latent.float()).contiguous()
        values |= {f"pixels.{n}": pixels, f"mean.{n}": mean, f"latent.{n}": latent, f"image.{n}": image}
    return values


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "tests" / "foreign")
    out = parser.parse_args().out
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)

    inputs = pictures()
    rng = np.random.default_rng(zlib.crc32(KL.name.encode()))
    vae = models.build(KL, rng)
    models.fit(KL, vae, [padded(pixels, 8) for pixels in inputs], rng)
    pool = Pool().eval()
    save_file(golden(KL, vae, inputs), out / "kl.safetensors")
    save_file(golden_of_pool(pool, inputs), out / "pool.safetensors")

    latent = (1, 4, 8, 6)
    dynamo(out / "kl-moments.onnx", vae, lambda m, x: m.encode(x).latent_dist.parameters, "moments", external=True)
    legacy(out / "kl-sample.onnx", vae, lambda m, x: m.encode(x).latent_dist.sample(), ["latent_sample"])
    legacy(out / "kl-decoder.onnx", vae, lambda m, x: m.decode(x).sample, ["sample"], latent, name="latent_sample")

    mean = lambda m, x: m.parameters_of(x).chunk(2, 1)[0]
    parameters = lambda m, x: m.parameters_of(x)
    sample = lambda m, x: sampled(m.parameters_of(x))
    legacy(out / "mean.onnx", pool, mean, ["latent"])
    legacy(out / "mean-logvar.onnx", pool, lambda m, x: m.parameters_of(x).chunk(2, 1), ["mean", "logvar"])
    legacy(out / "unnamed.onnx", pool, lambda m, x: m.parameters_of(x).chunk(2, 1), ["a", "b"])
    legacy(out / "sample-parameters.onnx", pool, lambda m, x: (sample(m, x), parameters(m, x)), ["drawn", "parameters"])
    legacy(out / "sample-scaled.onnx", pool, lambda m, x: sample(m, x) * 0.18215, ["latent"])
    dynamo(out / "sample-dynamo.onnx", pool, lambda m, x: (sample(m, x) - 0.5) * 0.25, "latent")
    legacy(out / "sample-before-a-layer.onnx", pool, sampled_before_a_layer, ["latent"])
    legacy(out / "sample-uniform.onnx", pool, lambda m, x: sampled(m.parameters_of(x), torch.rand_like), ["latent"])
    chance_in_a_branch(out / "sample-in-a-branch.onnx")
    chance_in_a_function(out / "sample-in-a-function.onnx")
    legacy(out / "fixed.onnx", pool, mean, ["latent"], fixed=(0, 2, 3))
    legacy(out / "batch-one.onnx", pool, mean, ["latent"], fixed=(0,))
    legacy(out / "batch-baked.onnx", pool, lambda m, x: mean(m, x.reshape(1, *x.shape[1:])), ["latent"])
    legacy(out / "decoder.onnx", pool, lambda m, x: m.decode(x), ["image"], latent, name="latent")
    legacy(out / "decoder-fixed.onnx", pool, lambda m, x: m.decode(x), ["image"], latent, name="latent", fixed=(0, 2, 3))
    noisy = lambda m, x: m.decode(x + torch.randn_like(x))
    legacy(out / "decoder-noisy.onnx", pool, noisy, ["image"], latent, name="latent")
    bytes_of = {"example": (1, 64, 48, 3), "dtype": torch.uint8, "sides": (1, 2), "name": "pixels"}
    legacy(out / "bytes.onnx", pool, from_bytes, ["latent"], **bytes_of)
    legacy(out / "bytes-decoder.onnx", pool, to_bytes, ["pixels"], latent, name="latent")
    half = Pool().eval().half()
    legacy(out / "half.onnx", half, mean, ["latent"], dtype=torch.float16)
    legacy(out / "half-decoder.onnx", half, lambda m, x: m.decode(x), ["image"], latent, torch.float16, name="latent")


if __name__ == "__main__":
    main()
