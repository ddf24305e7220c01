"""TensorFlow Lite files written by the format's own schema, so that no TensorFlow is needed to test their reading."""

from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

Arrays = dict[str, np.ndarray]


def network_of_few_layers() -> nn.Sequential:
    """What `write_tflite` writes, in torch."""
    import torch

    torch.manual_seed(3)
    module = nn.Sequential(nn.Conv2d(1, 4, 5, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 12 * 12, 5)).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(3.0)
    return module


def write_tflite(
    module: nn.Sequential, path: Path, *, softmax: bool = False, fixed: bool = False, bytes_in: Any = None,
    custom: bool = False,
) -> Path:  # fmt: skip
    """Write that network; `fixed` leaves it no batch but 1, `bytes_in` (np.uint8 or np.int8) takes whole numbers."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    convolution, _, _, linear = module
    kernel = convolution.weight.detach().numpy().transpose(0, 2, 3, 1)  # type: ignore[operator, union-attr]
    # The file flattens (H, W, C), torch (C, H, W).
    dense = linear.weight.detach().numpy().reshape(5, 4, 12, 12).transpose(0, 2, 3, 1).reshape(5, -1)  # type: ignore
    constants = {
        "kernel": kernel, "kernel bias": convolution.bias.detach().numpy(), "dense": dense,  # type: ignore
        "dense bias": linear.bias.detach().numpy(), "flat": np.array([1 if fixed else -1, 576], np.int32),  # type: ignore
    }  # fmt: skip
    shapes: dict[str, tuple[int, ...]] = {
        "images": (1, 28, 28, 1), "scaled": (1, 28, 28, 1), "features": (1, 12, 12, 4), "flattened": (1, 576),
        "logits": (1, 5), "answers": (1, 5),
    }  # fmt: skip
    builtin, types = schema.BuiltinOperator, schema.TensorType
    buffers, tensors, places = [schema.BufferT()], [], {}
    for name in (*constants, *shapes):
        tensor, array = schema.TensorT(), constants.get(name)
        tensor.name, tensor.shape = name, list(shapes[name] if array is None else array.shape)
        tensor.type = types.INT32 if name == "flat" else types.FLOAT32
        if array is None:
            if not fixed:
                tensor.shapeSignature = [-1, *tensor.shape[1:]]
            if name == "images" and bytes_in is not None:
                tensor.type = types.UINT8 if bytes_in is np.uint8 else types.INT8
                tensor.quantization = schema.QuantizationParametersT()
                tensor.quantization.scale = [1 / 255]
                tensor.quantization.zeroPoint = [int(np.iinfo(bytes_in).min)]
        else:
            tensor.buffer = len(buffers)
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
            buffers.append(buffer)
        places[name] = len(tensors)
        tensors.append(tensor)
    first = "scaled" if bytes_in is not None else "images"
    rows: list[tuple[int, list[str], str, Any, int]] = []
    if bytes_in is not None:
        rows.append((builtin.DEQUANTIZE, ["images"], "scaled", schema.DequantizeOptionsT(), 26))
    convolve, connect = schema.Conv2DOptionsT(), schema.FullyConnectedOptionsT()
    convolve.padding, convolve.strideW, convolve.strideH = schema.Padding.VALID, 2, 2
    convolve.dilationWFactor = convolve.dilationHFactor = 1
    convolve.fusedActivationFunction = schema.ActivationFunctionType.RELU
    kinds = schema.BuiltinOptions
    rows += [
        (builtin.CONV_2D, [first, "kernel", "kernel bias"], "features", convolve, kinds.Conv2DOptions),
        (builtin.RESHAPE, ["features", "flat"], "flattened", schema.ReshapeOptionsT(), kinds.ReshapeOptions),
        (builtin.FULLY_CONNECTED, ["flattened", "dense", "dense bias"], "logits", connect, kinds.FullyConnectedOptions),
    ]
    if softmax:
        options = schema.SoftmaxOptionsT()
        options.beta = 1.0
        rows.append((builtin.SOFTMAX, ["logits"], "answers", options, kinds.SoftmaxOptions))
    if bytes_in is not None:
        rows[0] = (*rows[0][:4], kinds.DequantizeOptions)
    codes, operators = [], []
    for number, (operation, taken, given, options, kind) in enumerate(rows):
        code, operator = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode, code.version = (builtin.CUSTOM if custom and number == 0 else operation), 1
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        if code.builtinCode == builtin.CUSTOM:
            code.customCode = "OperationOfTheirOwn"
        operator.opcodeIndex, operator.inputs = len(codes), [places[name] for name in taken]
        operator.outputs = [places[given]]
        if code.builtinCode != builtin.CUSTOM:
            operator.builtinOptionsType, operator.builtinOptions = kind, options
        codes.append(code)
        operators.append(operator)
    graph, model = schema.SubGraphT(), schema.ModelT()
    graph.tensors, graph.operators = tensors, operators
    graph.inputs, graph.outputs = [places["images"]], [places["answers" if softmax else "logits"]]
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, codes, [graph], buffers
    builder = flatbuffers.Builder(2**16)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path
