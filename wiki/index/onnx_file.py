"""Leaves the weights of a bundled ONNX model in its file, to save memory.

8-bit weights are replaced by references into the file, from which ONNX Runtime maps the parts that
it uses. Token vectors are looked up in 8 bits: ONNX Runtime would convert the whole table to floats
first, 47 MB for MiniLM. The results are identical, bit for bit.

An ONNX file is a protocol buffer: https://protobuf.dev/programming-guides/encoding/,
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# Field numbers in onnx.proto, and two values.
GRAPH = 7
NODES, TENSORS = 1, 5
INPUT, OUTPUT, OPERATOR = 1, 2, 4
DATA_TYPE, DATA, EXTERNAL_DATA, DATA_LOCATION = 2, 9, 13, 14
EIGHT_BITS = (2, 3)
EXTERNAL = 1
# Bytes; smaller tensors may remain.
LARGE = 2**16
# Tensors of the bundled embedding model: FLOATS, which are ROWS times SCALES, are TABLE, a vector
# per token.
TABLE = b"inner.embeddings.word_embeddings.weight"
ROWS, SCALES, FLOATS = TABLE + b"_q", TABLE + b"_scale", TABLE + b"_f"


def without_weights(file: Path) -> bytes:
    """The model with references into `file`."""
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        model = []
        for field in _fields(data, 0, len(data)):
            if field.number != GRAPH:
                model.append(data[field.begin : field.end])
                continue
            graph = []
            for part in _fields(data, field.content, field.end):
                tensor = _reference(data, part, file.name) if part.number == TENSORS else None
                if tensor is not None:
                    graph.append(tensor)
                elif part.number == NODES:
                    graph.append(_looked_up_first(data, part))
                else:
                    graph.append(data[part.begin : part.end])
            model.append(_written(GRAPH, b"".join(graph)))
        return b"".join(model)


class _Field(NamedTuple):
    number: int
    begin: int
    content: int
    end: int
    value: int
    """The value of a numeric field."""


def _fields(data: mmap.mmap, at: int, end: int) -> Iterator[_Field]:
    while at < end:
        begin = at
        key, at = _number(data, at)
        value = 0
        content = at
        if key & 7 == 2:
            size, content = _number(data, at)
            at = content + size
        elif key & 7 == 0:
            value, at = _number(data, at)
        else:
            at += 4 if key & 7 == 5 else 8
        yield _Field(key >> 3, begin, content, at, value)


def _number(data: mmap.mmap, at: int) -> tuple[int, int]:
    """Reads a varint; returns it and the position after it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def _reference(data: mmap.mmap, part: _Field, name: str) -> bytes | None:
    """A large 8-bit tensor as a reference into the file; None for other tensors."""
    fields = list(_fields(data, part.content, part.end))
    kind = next((field.value for field in fields if field.number == DATA_TYPE), 0)
    content = next((field for field in fields if field.number == DATA), None)
    if kind not in EIGHT_BITS or content is None or content.end - content.content < LARGE:
        return None
    place = {
        "location": name,
        "offset": str(content.content),
        "length": str(content.end - content.content),
    }
    return _written(
        TENSORS,
        b"".join(data[field.begin : field.end] for field in fields if field is not content)
        + b"".join(
            _written(EXTERNAL_DATA, _written(1, key.encode()) + _written(2, value.encode()))
            for key, value in place.items()
        )
        + _written(DATA_LOCATION, EXTERNAL),
    )


def _looked_up_first(data: mmap.mmap, part: _Field) -> bytes:
    """A node; rewrites those of the bundled model's table, so that only looked-up vectors become
    floats."""
    texts: dict[int, list[bytes]] = {INPUT: [], OUTPUT: []}
    for field in _fields(data, part.content, part.end):
        if field.number in texts:
            texts[field.number].append(data[field.content : field.end])
    if texts[OUTPUT] in ([FLOATS], [TABLE]):
        return b""
    if texts[INPUT][:1] != [TABLE]:
        return data[part.begin : part.end]
    ids, (vectors,) = texts[INPUT][1], texts[OUTPUT]
    return b"".join(
        (
            _operation(b"Gather", [ROWS, ids], b"rows"),
            _operation(b"Cast", [b"rows"], b"floats", TO_FLOAT),
            _operation(b"Gather", [SCALES, ids], b"scales"),
            _operation(b"Mul", [b"floats", b"scales"], vectors),
        )
    )


def _operation(operator: bytes, inputs: list[bytes], output: bytes, extra: bytes = b"") -> bytes:
    given = b"".join(_written(INPUT, name) for name in inputs)
    return _written(NODES, given + _written(OUTPUT, output) + _written(OPERATOR, operator) + extra)


def _written(number: int, value: bytes | int) -> bytes:
    """Encodes a field of bytes or a number."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    written.append(value)
    return bytes(written)


# Attribute "to" of Cast with the value 1, float; the attribute type 2 is an integer.
TO_FLOAT = _written(5, _written(1, b"to") + _written(3, 1) + _written(20, 2))
