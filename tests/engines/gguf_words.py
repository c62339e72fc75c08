"""Makes models that say one of two words, over and over, whatever they are asked.

The shipped model with an output layer of its own: one row reads a direction of the last hidden
state, another one its opposite, and all other rows are nothing; so one of the two words is always
the likeliest, by far. An answer shows by its words which of several such models gave it.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy
from gguf import GGUFValueType, GGUFWriter

from training.artefacts import convert

LOUD = 100.0  # so that the likelier word has nearly all of the probability


def make(source: Path, models: Mapping[Path, tuple[str, str]]) -> None:
    """Write a model to each path; its words are tokens of the model `source`, such as "Ġred"."""
    reader = convert.reader(source)
    fields = {
        name: (field.contents(), field.types)
        for name, field in reader.fields.items()
        if not name.startswith("GGUF.") and name != "general.architecture"
    }
    tokens = fields["tokenizer.ggml.tokens"][0]
    width = fields["llama.embedding_length"][0]
    for path, words in models.items():
        writer = GGUFWriter(path, "llama")
        for name, (value, types) in fields.items():
            inner = types[-1] if types[0] == GGUFValueType.ARRAY else None
            writer.add_key_value(name, value, types[0], inner)
        output = numpy.zeros((len(tokens), width), dtype=numpy.float16)
        output[tokens.index(words[0]), 0] = LOUD
        output[tokens.index(words[1]), 0] = -LOUD
        for tensor in reader.tensors:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
        writer.add_tensor("output.weight", output)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
