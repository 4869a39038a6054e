"""Open the model's pitch curve to its caller, by editing the graph's bytes.

The graph computes a fundamental frequency curve and speaks it. Three nodes after that curve
(f0 -> scale * f0 ** range) and two inputs let the caller move the pitch inside the model, which
sounds better than resampling afterwards. A message that is appended to a serialised protobuf is
merged into it when it is read, so the additions need neither the `onnx` package nor a copy on disk.
"""

from typing import Final

PITCH_RANGE: Final = "f0_range"
PITCH_SCALE: Final = "f0_scale"

# The pitch head's output. Its maker writes to another name of the same length, so that every
# length prefix around it stays right; our last node takes over the name that the rest reads.
_SPOKEN: Final = b"/encoder/Squeeze_output_0"
_PREDICTED: Final = b"/encoder/Squeeze_predicted"[: len(_SPOKEN)]

# Field numbers of onnx.proto.
_MODEL_GRAPH: Final = 7
_GRAPH_NODE, _GRAPH_INPUT = 1, 11
_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _NODE_OPERATION = 1, 2, 3, 4
_VALUE_NAME, _VALUE_TYPE = 1, 2
_TYPE_TENSOR = 1
_TENSOR_ELEMENT, _TENSOR_SHAPE = 1, 2
_SHAPE_DIMENSION = 1
_DIMENSION_VALUE = 1
_ELEMENT_FLOAT: Final = 1


class UnknownSpeechGraph(Exception):
    """The model is not the one that this edit was written for."""


def with_pitch_inputs(model: bytes) -> bytes:
    """The same model with two more inputs, PITCH_RANGE and PITCH_SCALE, each float [1]."""
    name_as_output = _field(_NODE_OUTPUT, _SPOKEN)
    name_as_value = _field(1, _SPOKEN)
    if model.count(name_as_output) != 1:
        raise UnknownSpeechGraph("the pitch head is not where it was")
    model = model.replace(name_as_output, _field(_NODE_OUTPUT, _PREDICTED))
    # What the file says about the shape of the name goes with the name's maker.
    described = model.rfind(name_as_value)
    model = model[:described] + _field(1, _PREDICTED) + model[described + len(name_as_value) :]
    additions = [
        _node(b"Relu", [_PREDICTED], b"f0_positive"),
        _node(b"Pow", [b"f0_positive", PITCH_RANGE.encode()], b"f0_ranged"),
        _node(b"Mul", [b"f0_ranged", PITCH_SCALE.encode()], _SPOKEN),
        _input(PITCH_RANGE.encode()),
        _input(PITCH_SCALE.encode()),
    ]
    return model + _field(_MODEL_GRAPH, b"".join(additions))


def _node(operation: bytes, inputs: list[bytes], output: bytes) -> bytes:
    fields = [
        *(_field(_NODE_INPUT, name) for name in inputs),
        _field(_NODE_OUTPUT, output),
        _field(_NODE_NAME, b"pitch_" + operation.lower()),
        _field(_NODE_OPERATION, operation),
    ]
    return _field(_GRAPH_NODE, b"".join(fields))


def _input(name: bytes) -> bytes:
    one_number = _field(_SHAPE_DIMENSION, _number(_DIMENSION_VALUE, 1))
    tensor = _number(_TENSOR_ELEMENT, _ELEMENT_FLOAT) + _field(_TENSOR_SHAPE, one_number)
    value = _field(_VALUE_NAME, name) + _field(_VALUE_TYPE, _field(_TYPE_TENSOR, tensor))
    return _field(_GRAPH_INPUT, value)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])
