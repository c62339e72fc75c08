"""Exports a merged model as GGUF for llama.cpp: the reverse of training/artefacts/convert.py.

The job: {"model": folder, "out": new file, "type": "bf16", "q8_0" or "q4_1"}.

Uses the `gguf` package, tensor by tensor, so that memory stays near the size of one tensor.
llama.cpp's own converter is a script in its repository that no package installs; k-quants need its
compiled quantiser. Whatever cannot be converted exactly is refused, not guessed.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy

from training.artefacts.convert import (
    BLOCK_TENSORS,
    CONTROL,
    PRE_TOKENIZERS,
    TOP_TENSORS,
    USER_DEFINED,
    byte_level,
    llama3_table,
    pairs,
)
from training.tuning import template
from training.tuning.problem import Problem

NORMAL, UNUSED = 1, 5
HF_BLOCKS = {theirs: ours for ours, theirs in BLOCK_TENSORS.items()}
HF_TOPS = {theirs: ours for ours, theirs in TOP_TENSORS.items()}
# Tensors used for every token, or for choosing one: 8 bits cost little there.
SENSITIVE = ("token_embd.weight", "output.weight")
# Texts that distinguish the known pre-tokenisers: digits, contractions, spaces, line breaks.
CUT = (
    "1234567 and 3.14159, v2.0-rc1 at 2026-11-25T08:05:09Z",
    "I'm, you're, WE'LL, they'd've, can't; snake_case camelCase",
    "def f(x):\n\tif x >= 10:\n        return {'a': [1, 2]}  # ok\n\n\n\treturn\n",
    "  two leading, \t tabs\t\t, trailing   \n \n  \r\n\r\n",
    "Crème brûlée, Ærøskøbing, Привет, мир! 你好，世界。 😀👍🏽 ½ ² ٣ — “quoted”",
)


def run(job: dict[str, Any], tell: Any) -> dict[str, Any]:
    """Write the file. Raises Problem."""
    import gguf

    folder, out = Path(job["model"]), Path(job["out"])
    config = read(folder / "config.json")
    if config["model_type"] != "llama":
        raise Problem(
            f"{folder / 'config.json'}: model_type {config['model_type']!r} cannot be exported "
            "(only llama can): serve the merged model with vLLM"
        )
    writer = gguf.GGUFWriter(out, "llama")
    write_config(writer, folder, config)
    write_tokenizer(writer, folder, config)
    kind = gguf.GGMLQuantizationType[job["type"].upper()]
    writer.add_file_type(gguf.LlamaFileType[f"MOSTLY_{kind.name}"])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)

    places = dict(sorted(tensors(folder), key=lambda entry: order(entry[0])))
    kinds = {}
    for name, (_, _, shape) in places.items():
        kinds[name] = kind_of(gguf, kind, name, shape)
        block, size = gguf.GGML_QUANT_SIZES[kinds[name]]
        stored = [*shape[:-1], shape[-1] // block * size]
        is_plain = kinds[name] == gguf.GGMLQuantizationType.F32
        writer.add_tensor_info(
            name,
            shape if is_plain else stored,
            numpy.dtype(numpy.float32 if is_plain else numpy.uint8),
            math.prod(shape) // block * size,
            kinds[name],
        )
    table = rope_table(folder, config)
    if table:
        freqs = numpy.array(table, dtype=numpy.float32)
        writer.add_tensor_info("rope_freqs.weight", freqs.shape, freqs.dtype, freqs.nbytes)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for done, (name, (file, theirs, _)) in enumerate(places.items()):
        tell("writing tensors", done, len(places))
        weights = values(file, theirs, name, config)
        if not numpy.isfinite(weights).all():
            raise Problem(f"{file}: {theirs} is not finite: merge it again")
        writer.write_tensor_data(gguf.quantize(weights, kinds[name]))
    if table:
        writer.write_tensor_data(freqs)
    writer.close()
    tell("writing tensors", len(places), len(places))
    return {"type": job["type"]}


def write_config(writer: Any, folder: Path, config: dict[str, Any]) -> None:
    heads, width = config["num_attention_heads"], config["hidden_size"]
    head_dim = config.get("head_dim") or width // heads
    writer.add_name(folder.name)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(width)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads") or heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(rope(config)["rope_theta"])


def rope(config: dict[str, Any]) -> dict[str, Any]:
    """RoPE parameters in the format of transformers 5 or older releases."""
    old = {"rope_theta": config.get("rope_theta", 10000.0), **(config.get("rope_scaling") or {})}
    return {**old, **(config.get("rope_parameters") or {})}


def rope_table(folder: Path, config: dict[str, Any]) -> list[float] | None:
    """The divisor of each frequency, if the model's context was extended. Raises Problem."""
    parameters = rope(config)
    kind = parameters.get("rope_type", parameters.get("type", "default"))
    if kind == "default":
        return None
    fixed = {
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    if kind != "llama3" or any(parameters.get(key) != value for key, value in fixed.items()):
        raise Problem(
            f"{folder / 'config.json'}: RoPE of type {kind!r} with {parameters} cannot be "
            "exported: serve the merged model with vLLM"
        )
    heads, width = config["num_attention_heads"], config["hidden_size"]
    head_dim = config.get("head_dim") or width // heads
    return llama3_table(parameters["rope_theta"], head_dim, parameters["factor"])


def write_tokenizer(writer: Any, folder: Path, config: dict[str, Any]) -> None:
    """Raises Problem: training/artefacts/convert.py does not know this kind either."""
    file = folder / "tokenizer.json"
    data, settings = read(file), read(folder / "tokenizer_config.json")
    if data["model"]["type"] != "BPE" or not isinstance(data["model"].get("vocab"), dict):
        raise Problem(f"{file}: is not a byte-pair tokenizer: serve the merged model with vLLM")
    merges = [m if isinstance(m, str) else " ".join(m) for m in data["model"]["merges"]]
    tokens = [f"[PAD{number}]" for number in range(config["vocab_size"])]
    types = [UNUSED] * len(tokens)
    for token, number in data["model"]["vocab"].items():
        tokens[number], types[number] = token, NORMAL
    for added in data["added_tokens"]:
        tokens[added["id"]] = added["content"]
        types[added["id"]] = CONTROL if added["special"] else USER_DEFINED
    pre, adds_bos = cutting(file, data["model"]["vocab"], merges)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_add_bos_token(adds_bos)
    for role in ("bos", "eos", "pad", "unk"):
        token = settings.get(f"{role}_token")
        token = token["content"] if isinstance(token, dict) else token
        if token is not None:
            getattr(writer, f"add_{role}_token_id")(tokens.index(token))
    if (text := template.of(folder)) is not None:
        writer.add_chat_template(text)


def cutting(file: Path, vocabulary: dict[str, int], merges: list[str]) -> tuple[str, bool]:
    """The llama.cpp pre-tokeniser that gives this tokenizer's ids, and whether text begins with a
    BOS. Found by trying, since one split can be written in many ways. Raises Problem."""
    from tokenizers import Tokenizer

    theirs = Tokenizer.from_file(str(file))
    wanted = [theirs.encode(text, add_special_tokens=False).ids for text in CUT]
    for name in PRE_TOKENIZERS:
        ours = byte_level(name, vocabulary, pairs(merges))
        if [ours.encode(text).ids for text in CUT] == wanted:
            return name, bool(theirs.encode("").ids)
    raise Problem(
        f"{file}: its pre-tokenizer is none of {', '.join(PRE_TOKENIZERS)}: serve the merged "
        "model with vLLM"
    )


def tensors(folder: Path) -> Iterator[tuple[str, tuple[Path, str, list[int]]]]:
    """Each tensor by llama.cpp's name: its file, its name there, its shape. Raises Problem."""
    from safetensors import safe_open

    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as tensors:
            for theirs in tensors.keys():  # noqa: SIM118 -- it is no dict
                shape = tensors.get_slice(theirs).get_shape()
                yield named(file, theirs), (file, theirs, shape)


def named(file: Path, theirs: str) -> str:
    if theirs in HF_TOPS:
        return HF_TOPS[theirs]
    pieces = theirs.removeprefix("model.layers.").split(".")
    part = ".".join(pieces[1:-1])
    if part not in HF_BLOCKS:
        raise Problem(
            f"{file}: tensor {theirs!r} cannot be stored in a GGUF file: serve the merged model "
            "with vLLM"
        )
    return f"blk.{pieces[0]}.{HF_BLOCKS[part]}.{pieces[-1]}"


def order(name: str) -> tuple[int, str]:
    pieces = name.split(".")
    return (int(pieces[1]) if pieces[0] == "blk" else -1, name)


def values(file: Path, theirs: str, name: str, config: dict[str, Any]) -> Any:
    """A tensor in float32, with its rows in llama.cpp's order of rotation."""
    from safetensors import safe_open

    with safe_open(file, "pt") as tensors:
        weights = tensors.get_tensor(theirs).float()
    heads = config["num_attention_heads"]
    if ".attn_k." in name:
        heads = config.get("num_key_value_heads") or heads
    if ".attn_q." in name or ".attn_k." in name:
        # Neighbouring rows instead of those half a head apart, as in training/artefacts/convert.py.
        rows = weights.reshape(heads, 2, -1, *weights.shape[1:])
        weights = rows.swapaxes(1, 2).reshape(weights.shape)
    return weights.contiguous().numpy()


def kind_of(gguf: Any, kind: Any, name: str, shape: list[int]) -> Any:
    """Vectors are small and stay in 32 bits; rows that do not fill whole blocks stay in 16."""
    types = gguf.GGMLQuantizationType
    if len(shape) == 1:
        return types.F32
    if name in SENSITIVE and kind == types.Q4_1:
        kind = types.Q8_0
    return kind if shape[-1] % gguf.GGML_QUANT_SIZES[kind][0] == 0 else types.BF16


def read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content
