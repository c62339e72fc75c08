"""Copies a GGUF file with another pre-tokenizer name, and a rope_freqs table if wanted.

    python tests/engines/gguf_variant.py SOURCE.gguf TARGET.gguf PRE [FACTOR...]

Runs in the vllm environment (it needs gguf). Gives the converter and llama.cpp models of the other
kinds that both know, without a download: the small model's weights under other rules.
"""

import sys

import numpy
from gguf import GGUFReader, GGUFValueType, GGUFWriter


def main(source: str, target: str, pre: str, *table: str) -> None:
    reader = GGUFReader(source)
    writer = GGUFWriter(target, "llama")
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        value = pre if name == "tokenizer.ggml.pre" else field.contents()
        inner = field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None
        writer.add_key_value(name, value, field.types[0], inner)
    if table:
        writer.add_tensor("rope_freqs.weight", numpy.array(table, dtype=numpy.float32))
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
