"""The two ONNX graphs, written node by node: byte images in and out, f16 latents between them.

Kernels are int8 with an f16 scale for each output, biases f16; the nodes that make f32 of them are folded by ONNX
Runtime when it loads the file, and all arithmetic is f32. Opset 17 and IR version 8 keep the files loadable by old runtimes.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

OPSET = 17
IR_VERSION = 8


class Graph:
    """Nodes in order; every method adds one operation and returns the name of its result."""

    def __init__(self, weights):
        self.weights = weights
        self.nodes, self.initializers = [], []

    def op(self, kind, inputs, name, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name, value):
        self.initializers.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def weight(self, name):
        self.initializers.append(numpy_helper.from_array(self.weights[name], name))
        return self.op("Cast", [name], f"{name}.f32", to=TensorProto.FLOAT)

    def conv(self, x, name, stride=1):
        kernel = self.op("Mul", [self.weight(f"{name}.weight"), self.weight(f"{name}.scale")], f"{name}.kernel")
        side = self.weights[f"{name}.weight"].shape[-1]
        around = {"kernel_shape": [side] * 2, "pads": [side // 2] * 4, "strides": [stride] * 2}
        return self.op("Conv", [x, kernel, self.weight(f"{name}.bias")], name, **around)

    def blocks(self, x, name):
        count = sum(key.startswith(f"{name}.") and key.endswith(".conv1.weight") for key in self.weights)
        for n in range(count):
            block = f"{name}.{n}"
            y = self.op("Relu", [self.conv(x, f"{block}.conv1")], f"{block}.relu")
            x = self.op("Add", [x, self.conv(y, f"{block}.conv2")], f"{block}.sum")
        return x

    def model(self, name, source, target):
        graph = helper.make_graph(self.nodes, name, [source], [target], self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        model.producer_name = "latentdb"
        onnx.checker.check_model(model, full_check=True)
        return model


def encoder(weights):
    """pixels: uint8 [N, H, W, 3], H and W multiples of 8 -> latent: float16 [N, 4, H/8, W/8]."""
    graph = Graph(weights)
    x = graph.op("Cast", ["pixels"], "pixels.f32", to=TensorProto.FLOAT)
    x = graph.op("Div", [x, graph.constant("half_range", 127.5)], "pixels.scaled")
    x = graph.op("Sub", [x, graph.constant("one", 1.0)], "pixels.unit")
    x = graph.op("Transpose", [x], "pixels.nchw", perm=[0, 3, 1, 2])
    x = graph.op("SpaceToDepth", [x], "pixels.unshuffled", blocksize=4)
    x = graph.blocks(graph.conv(x, "encoder.stem"), "encoder.fine")
    x = graph.blocks(graph.conv(x, "encoder.down", stride=2), "encoder.coarse")
    graph.op("Cast", [graph.conv(x, "encoder.head")], "latent", to=TensorProto.FLOAT16)
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", "H", "W", 3])
    latent = helper.make_tensor_value_info("latent", TensorProto.FLOAT16, ["N", 4, "H/8", "W/8"])
    return graph.model("tiny-encoder", pixels, latent)


def decoder(weights):
    """latent: float16 [N, 4, h, w] -> pixels: uint8 [N, 8h, 8w, 3], rounded half to even."""
    graph = Graph(weights)
    x = graph.op("Cast", ["latent"], "latent.f32", to=TensorProto.FLOAT)
    x = graph.op("Add", [x, graph.weight("decoder.shift")], "latent.shifted")
    x = graph.blocks(graph.conv(x, "decoder.stem"), "decoder.coarse")
    x = graph.op("DepthToSpace", [graph.conv(x, "decoder.up")], "decoder.up.shuffled", blocksize=2, mode="CRD")
    x = graph.conv(graph.blocks(x, "decoder.fine"), "decoder.head")
    x = graph.op("DepthToSpace", [x], "pixels.unit", blocksize=4, mode="CRD")
    half = graph.constant("half_range", 127.5)
    x = graph.op("Mul", [x, half], "pixels.scaled")
    x = graph.op("Add", [x, half], "pixels.f32")
    x = graph.op("Clip", [x, graph.constant("black", 0.0), graph.constant("white", 255.0)], "pixels.clipped")
    x = graph.op("Round", [x], "pixels.rounded")
    x = graph.op("Cast", [x], "pixels.nchw", to=TensorProto.UINT8)
    graph.op("Transpose", [x], "pixels", perm=[0, 2, 3, 1])
    latent = helper.make_tensor_value_info("latent", TensorProto.FLOAT16, ["N", 4, "h", "w"])
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", "8h", "8w", 3])
    return graph.model("tiny-decoder", latent, pixels)


def gflop(model, shape):
    """2 x multiply-adds of all convolutions for one input of the given shape, in 1e9."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for dim, size in zip(fixed.graph.input[0].type.tensor_type.shape.dim, shape):
        dim.dim_value = size
    fixed.graph.output[0].type.tensor_type.ClearField("shape")
    graph = shape_inference.infer_shapes(fixed, strict_mode=True, data_prop=True).graph
    shapes = {info.name: [d.dim_value for d in info.type.tensor_type.shape.dim] for info in (*graph.value_info, *graph.output)}
    total = 0
    for node in graph.node:
        if node.op_type == "Conv":
            total += 2 * np.prod(shapes[node.output[0]]) * np.prod(shapes[node.input[1]][1:])
    return float(total) / 1e9
