"""Copies a GGUF file with other properties: gives models without a download."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
from gguf import GGUFValueType, GGUFWriter

from training.artefacts import convert

DEPTH, SPLITTING = "llama.block_count", "tokenizer.ggml.pre"
TEMPLATE = "tokenizer.chat_template"


def make(
    source: Path,
    target: Path,
    *,
    layers: int | None = None,
    pre: str | None = None,
    table: Sequence[float] = (),
    template: str | None = None,
) -> Path:
    """Write it to `target`.

    Args:
        layers: only the first; it talks nonsense, and much faster.
        pre: another name of how it splits text.
        table: its rope_freqs.
        template: another chat template.
    """
    reader = convert.reader(source)
    writer = GGUFWriter(target, "llama")
    other: dict[str, Any] = {DEPTH: layers, SPLITTING: pre, TEMPLATE: template}
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        value = other.get(name) or field.contents()
        inner = field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None
        writer.add_key_value(name, value, field.types[0], inner)
    if table:
        writer.add_tensor("rope_freqs.weight", numpy.array(table, dtype=numpy.float32))
    for tensor in reader.tensors:
        block, _, _ = tensor.name.removeprefix("blk.").partition(".")
        if layers is None or not (tensor.name.startswith("blk.") and int(block) >= layers):
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target
