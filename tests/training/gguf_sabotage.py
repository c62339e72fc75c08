"""Copies a GGUF file with one thing wrong that an exporter could do.

    PYTHON -I tests/training/gguf_sabotage.py SOURCE.gguf TARGET.gguf rotation|template

`rotation` leaves the rows of q and k as Hugging Face has them; `template` writes the chat template
of another model. Runs in the environment `train`, which has gguf.
"""

import sys

from gguf import GGUFReader, GGUFValueType, GGUFWriter

OTHER = (
    "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)


def main(source: str, target: str, wrong: str) -> None:
    reader = GGUFReader(source)
    writer = GGUFWriter(target, "llama")
    heads = {
        "attn_q": reader.fields["llama.attention.head_count"].contents(),
        "attn_k": reader.fields["llama.attention.head_count_kv"].contents(),
    }
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        is_template = wrong == "template" and name == "tokenizer.chat_template"
        value = OTHER if is_template else field.contents()
        inner = field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None
        writer.add_key_value(name, value, field.types[0], inner)
    for tensor in reader.tensors:
        data, part = tensor.data, tensor.name.split(".")[-2]
        if wrong == "rotation" and part in heads:
            rows = data.reshape(heads[part], -1, 2, *data.shape[1:])
            data = rows.swapaxes(1, 2).reshape(data.shape)
        writer.add_tensor(tensor.name, data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
