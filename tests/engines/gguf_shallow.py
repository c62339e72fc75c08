"""Makes a model of the first layers of another one: it talks nonsense, and much faster."""

from pathlib import Path

from gguf import GGUFReader, GGUFValueType, GGUFWriter

DEPTH = "llama.block_count"


def make(source: Path, target: Path, layers: int) -> Path:
    """Write it to `target`, a GGUF file as `source` is."""
    reader = GGUFReader(source)
    writer = GGUFWriter(target, "llama")
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        value = layers if name == DEPTH else field.contents()
        inner = field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None
        writer.add_key_value(name, value, field.types[0], inner)
    for tensor in reader.tensors:
        block, _, _ = tensor.name.removeprefix("blk.").partition(".")
        if not (tensor.name.startswith("blk.") and int(block) >= layers):
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target
