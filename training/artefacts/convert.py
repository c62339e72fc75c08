"""Converts a GGUF model to a Hugging Face folder with the same token ids and the same answers.

    python training/artefacts/convert.py MODEL.gguf OUT_DIR

Runs in the environment of vLLM or of training, which have torch, safetensors, tokenizers and gguf;
imports nothing from this repository. Weights are dequantised to bf16 shard by shard, so that memory
stays near the size of one shard.

Whatever cannot be converted exactly is refused, not guessed: transformers' own GGUF loader lost the
splitting of digits in one code path, drops the RoPE scaling of Llama 3.1, and skips unknown
tensors. `python -m research.studies.parity` proves a conversion against llama.cpp.
"""

import fcntl
import hashlib
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Python puts a script's folder first on sys.path; a neighbour here must never shadow a library.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).parent]

MARKER = "conversion.json"
CONVERTER = 1  # increase it when the output changes: folders of older versions are converted again
SHARD_BYTES = 4 * 1024**3
GIB = 1024**3

# Pre-tokenisation before byte-pair merging, by `tokenizer.ggml.pre`. Names and expressions are
# those of llama.cpp's src/llama-vocab.cpp (llm_tokenizer_bpe); a list is applied in order.
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_MODERN = (
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|%s"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_DIGIT_BY_DIGIT = [r"\p{N}", _GPT2]
_LLAMA3 = [_MODERN % r"\p{N}{1,3}"]
PRE_TOKENIZERS = {
    "smollm": _DIGIT_BY_DIGIT,
    "starcoder": _DIGIT_BY_DIGIT,
    "gpt-2": [_GPT2],
    "llama-bpe": _LLAMA3,
    "llama3": _LLAMA3,
    "qwen2": [_MODERN % r"\p{N}"],
}
LLAMA3_NAMES = ("llama-bpe", "llama3")  # whole words in the vocabulary win over merges; BOS is on

# Token types of GGUF, and token names at which llama.cpp always ends a generation.
CONTROL, USER_DEFINED = 3, 4
END_NAMES = (
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
    "<|endoftext|>",
    "<|end_of_text|>",
)

TOP_TENSORS = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
BLOCK_TENSORS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
# Meta's published scalings; a GGUF file has only the table derived from one of them.
LLAMA3_FACTORS = (8.0, 32.0)  # 3.1 and 3.3; 3.2
LLAMA3_LOW, LLAMA3_HIGH, LLAMA3_CONTEXT = 1.0, 4.0, 8192
INSTEAD = "pass the model's Hugging Face folder or hub id to --model instead"


class ConversionError(Exception):
    """One line: what in which file cannot be converted, and the fix."""


def say(text: str) -> None:
    print(text, flush=True)


def convert(source: Path, out: Path) -> bool:
    """Convert `source` into the folder `out`; False if `out` is already this conversion.

    `out` appears atomically: it is written beside its place, synced and renamed.

    Raises:
        ConversionError: the file is missing, broken or cannot be converted exactly; this converter
            did not make the folder `out`; the disk has too little space.
    """
    if not source.is_file():
        raise ConversionError(f"{source}: no such file; name a GGUF file")
    stat = source.stat()
    seen = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "converter": CONVERTER}
    old = _read_marker(out)
    if old is not None and seen.items() <= old.items():
        return False
    if out.exists() and old is None and any(out.iterdir()):
        raise ConversionError(f"{out}: not a folder made by this converter; name another OUT_DIR")
    digest = _sha256(source)
    out.parent.mkdir(parents=True, exist_ok=True)
    with open(out.with_name(out.name + ".lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two first starts in parallel: the second waits and skips
        old = _read_marker(out)
        same = old is not None and old["sha256"] == digest and old["converter"] == CONVERTER
        partial = out.with_name(out.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)  # left by a killed run
        if same:  # copied or touched, but the same bytes
            _write_json(out / MARKER, {**(old or {}), **seen})
            return False
        partial.mkdir()
        try:
            facts = _write_folder(source, partial)
            _write_json(
                partial / MARKER, {**facts, **seen, "source": source.name, "sha256": digest}
            )
            _sync(partial)
            _swap(partial, out)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    return True


def tokenizer_files(source: Path) -> dict[str, str]:
    """A GGUF model's tokenizer files: content by file name. Raises ConversionError."""
    try:
        return _tokenizer(source, _keys(_reader(source)))
    except KeyError as error:
        raise ConversionError(f"{source}: has no {error.args[0]}; {INSTEAD}") from None


def config_json(source: Path) -> dict[str, Any]:
    """The content of config.json for a GGUF model. Raises ConversionError."""
    reader = _reader(source)
    try:
        return _config(source, _keys(reader), reader.tensors)
    except KeyError as error:
        raise ConversionError(f"{source}: has no {error.args[0]}; {INSTEAD}") from None


def reader(source: Path) -> Any:
    """gguf's reader, without an array for each text of the vocabulary, which takes seconds.

    Raises ValueError, IndexError or KeyError: the file is broken.
    """
    from gguf import GGUFReader, GGUFValueType

    class Reader(GGUFReader):  # type: ignore[misc]
        def _get_field_parts(self, orig_offs: int, raw_type: int) -> Any:
            if raw_type != GGUFValueType.ARRAY or self.byte_order == "S":
                return super()._get_field_parts(orig_offs, raw_type)
            kind = GGUFValueType(int(self._get(orig_offs, "u4")[0]))
            length, start = int(self._get(orig_offs + 4, "u8")[0]), orig_offs + 12
            types = [GGUFValueType.ARRAY, kind]
            if kind in self.gguf_scalar_to_np:
                values = self._get(start, self.gguf_scalar_to_np[kind], length)
                return start + values.nbytes - orig_offs, [values], [0], types
            if kind != GGUFValueType.STRING:
                return super()._get_field_parts(orig_offs, raw_type)
            texts, data, at = [], memoryview(self.data), start
            for _ in range(length):
                end = at + 8 + int.from_bytes(data[at : at + 8], "little")
                if end > len(data):
                    raise ValueError("it ends inside a string")
                texts.append(data[at + 8 : end])
                at = end
            return at - orig_offs, texts, list(range(length)), types

    return Reader(source)


def _reader(source: Path) -> Any:
    try:
        return reader(source)
    except (ValueError, IndexError, KeyError) as error:
        raise ConversionError(f"{source}: not a readable GGUF file ({error})") from None


def _keys(reader: Any) -> dict[str, Any]:
    return {name: field.contents() for name, field in reader.fields.items()}


def _write_folder(source: Path, folder: Path) -> dict[str, Any]:
    reader = _reader(source)
    keys = _keys(reader)
    try:
        config = _config(source, keys, reader.tensors)
        tokenizer = _tokenizer(source, keys)
    except KeyError as error:
        raise ConversionError(f"{source}: has no {error.args[0]}; {INSTEAD}") from None
    need = sum(int(math.prod(t.shape)) for t in reader.tensors) * 2 * 1.02
    free = shutil.disk_usage(folder).free
    if free < need:
        raise ConversionError(
            f"{folder.parent}: {free / GIB:.1f} GiB free, the converted model takes"
            f" {need / GIB:.1f} GiB; free some space or set ASKDOCS_HOME to another disk"
        )
    _write_json(folder / "config.json", config)
    _write_json(
        folder / "generation_config.json",
        {
            "bos_token_id": config["bos_token_id"],
            "eos_token_id": _end_ids(keys),
            "pad_token_id": config["pad_token_id"],
        },
    )
    for name, content in tokenizer.items():
        (folder / name).write_text(content, encoding="utf-8")
    _write_weights(source, reader, config, folder)
    return {"versions": {name: version(name) for name in ("gguf", "torch", "safetensors")}}


def _config(source: Path, keys: dict[str, Any], tensors: list[Any]) -> dict[str, Any]:
    """`config.json` for the llama architecture (Llama, SmolLM, Mistral). Raises ConversionError."""
    arch = keys.get("general.architecture")
    if arch != "llama":
        raise ConversionError(f"{source}: architecture {arch!r} is not supported; {INSTEAD}")
    if keys.get("split.count", 1) > 1:
        raise ConversionError(
            f"{source}: one of {keys['split.count']} parts; merge the parts first"
        )
    if "llama.expert_count" in keys or keys.get("llama.rope.scaling.type", "none") != "none":
        raise ConversionError(f"{source}: experts and scaled RoPE are not supported; {INSTEAD}")

    heads = int(keys["llama.attention.head_count"])
    head_dim = int(keys.get("llama.attention.key_length", keys["llama.embedding_length"] // heads))
    theta = float(keys.get("llama.rope.freq_base", 10000.0))
    if int(keys.get("llama.rope.dimension_count", head_dim)) != head_dim:
        raise ConversionError(f"{source}: partial RoPE is not supported; {INSTEAD}")
    names = {tensor.name for tensor in tensors}
    embedding = next(tensor for tensor in tensors if tensor.name == "token_embd.weight")
    eos = keys.get("tokenizer.ggml.eos_token_id")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": int(keys["llama.embedding_length"]),
        "intermediate_size": int(keys["llama.feed_forward_length"]),
        "num_hidden_layers": int(keys["llama.block_count"]),
        "num_attention_heads": heads,
        "num_key_value_heads": int(keys.get("llama.attention.head_count_kv", heads)),
        "head_dim": head_dim,
        "hidden_act": "silu",
        "rms_norm_eps": float(keys["llama.attention.layer_norm_rms_epsilon"]),
        "max_position_embeddings": int(keys["llama.context_length"]),
        "rope_parameters": _rope(source, theta, head_dim, tensors),
        "vocab_size": int(embedding.shape[1]),
        "tie_word_embeddings": "output.weight" not in names,
        "attention_bias": "blk.0.attn_q.bias" in names,
        "mlp_bias": "blk.0.ffn_up.bias" in names,
        "bos_token_id": keys.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": eos,
        "pad_token_id": keys.get("tokenizer.ggml.padding_token_id", eos),
        "dtype": "bfloat16",
    }


def _rope(source: Path, theta: float, head_dim: int, tensors: list[Any]) -> dict[str, Any]:
    """RoPE parameters; a `rope_freqs` table is Llama 3.1's scaling, evaluated per frequency
    pair."""
    table = next((tensor.data for tensor in tensors if tensor.name == "rope_freqs.weight"), None)
    if table is None:
        return {"rope_type": "default", "rope_theta": theta}
    for factor in LLAMA3_FACTORS:
        expected = llama3_table(theta, head_dim, factor)
        if all(abs(a - b) <= 1e-3 * b for a, b in zip(table.tolist(), expected, strict=True)):
            return {
                "rope_type": "llama3",
                "rope_theta": theta,
                "factor": factor,
                "low_freq_factor": LLAMA3_LOW,
                "high_freq_factor": LLAMA3_HIGH,
                "original_max_position_embeddings": LLAMA3_CONTEXT,
            }
    raise ConversionError(f"{source}: its rope_freqs table is not Llama 3's; {INSTEAD}")


def llama3_table(theta: float, head_dim: int, factor: float) -> list[float]:
    """The divisor of each frequency, as written by llama.cpp's convert_hf_to_gguf.py."""
    divisors = []
    for index in range(0, head_dim, 2):
        wavelength = 2 * math.pi * theta ** (index / head_dim)
        if wavelength < LLAMA3_CONTEXT / LLAMA3_HIGH:
            divisors.append(1.0)
        elif wavelength > LLAMA3_CONTEXT / LLAMA3_LOW:
            divisors.append(factor)
        else:
            smooth = LLAMA3_CONTEXT / wavelength - LLAMA3_LOW
            smooth /= LLAMA3_HIGH - LLAMA3_LOW
            divisors.append(1 / ((1 - smooth) / factor + smooth))
    return divisors


def _tokenizer(source: Path, keys: dict[str, Any]) -> dict[str, str]:
    """The tokenizer's files by name. Raises ConversionError for a kind not listed above."""
    from tokenizers import AddedToken, processors

    kind, name = keys.get("tokenizer.ggml.model"), keys.get("tokenizer.ggml.pre", "default")
    if kind != "gpt2" or name not in PRE_TOKENIZERS:
        raise ConversionError(
            f"{source}: tokenizer {kind!r}/{name!r} is not supported (known: gpt2 with "
            f"{', '.join(PRE_TOKENIZERS)}); {INSTEAD}"
        )
    tokens: list[str] = keys["tokenizer.ggml.tokens"]
    merges = pairs(keys["tokenizer.ggml.merges"])
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = byte_level(name, vocabulary, merges)
    tokenizer.add_tokens(
        [
            AddedToken(token, special=kind == CONTROL, normalized=False)
            for token, kind in zip(tokens, keys["tokenizer.ggml.token_type"], strict=True)
            if kind in (CONTROL, USER_DEFINED)
        ]
    )
    special = {
        role: tokens[keys[key]]
        for role, key in [
            ("bos_token", "tokenizer.ggml.bos_token_id"),
            ("eos_token", "tokenizer.ggml.eos_token_id"),
            ("pad_token", "tokenizer.ggml.padding_token_id"),
            ("unk_token", "tokenizer.ggml.unknown_token_id"),
        ]
        if key in keys
    }
    special.setdefault("pad_token", special["eos_token"])
    if keys.get("tokenizer.ggml.add_bos_token", name in LLAMA3_NAMES):
        bos = special["bos_token"]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A",
            pair=f"{bos} $A {bos} $B",
            special_tokens=[(bos, vocabulary[bos])],
        )
    settings = {
        # The generic class: the class for model_type "llama" would rebuild the splitting above.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": int(keys["llama.context_length"]),
        "clean_up_tokenization_spaces": False,
        **special,
    }
    files = {
        "tokenizer.json": tokenizer.to_str(),
        "tokenizer_config.json": json.dumps(settings, indent=2, ensure_ascii=False),
    }
    if "tokenizer.chat_template" in keys:
        files["chat_template.jinja"] = keys["tokenizer.chat_template"]
    return files


def pairs(merges: list[str]) -> list[tuple[str, str]]:
    return [(left, right) for left, right in (merge.split(" ") for merge in merges)]


def byte_level(name: str, vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> Any:
    """A tokenizer that splits text like llama.cpp for this `tokenizer.ggml.pre`."""
    from tokenizers import Regex, Tokenizer, decoders, models
    from tokenizers import pre_tokenizers as pre

    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, ignore_merges=name in LLAMA3_NAMES)
    )
    tokenizer.pre_tokenizer = pre.Sequence(
        [pre.Split(Regex(expression), "isolated") for expression in PRE_TOKENIZERS[name]]
        + [pre.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _end_ids(keys: dict[str, Any]) -> list[int]:
    """End-of-generation ids: the file's own, then those of token names that llama.cpp adds."""
    tokens, types = keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.token_type"]
    ids = [keys.get(f"tokenizer.ggml.{role}_token_id") for role in ("eos", "eot", "eom")]
    ids += [
        index
        for index, (token, kind) in enumerate(zip(tokens, types, strict=True))
        if kind == CONTROL and token in END_NAMES
    ]
    return list(dict.fromkeys(int(i) for i in ids if i is not None))


def _write_weights(source: Path, reader: Any, config: dict[str, Any], folder: Path) -> None:
    from safetensors.torch import save_file

    shards: list[list[Any]] = [[]]
    size = 0
    for tensor in reader.tensors:
        if tensor.name == "rope_freqs.weight":
            continue  # in config.json
        bytes_ = int(math.prod(tensor.shape)) * 2
        if shards[-1] and size + bytes_ > SHARD_BYTES:
            shards.append([])
            size = 0
        shards[-1].append(tensor)
        size += bytes_
    index: dict[str, str] = {}
    total = sum(map(len, shards))
    for number, shard in enumerate(shards, start=1):
        name = "model.safetensors"
        if len(shards) > 1:
            name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        tensors = dict(_dequantise(source, shard, config, len(index), total))
        save_file(tensors, folder / name, metadata={"format": "pt"})
        (folder / name).chmod(0o644)  # safetensors makes it readable only by its owner
        index.update(dict.fromkeys(tensors, name))
    if len(shards) > 1:
        _write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": index})


def _dequantise(
    source: Path, tensors: list[Any], config: dict[str, Any], done: int, total: int
) -> Iterator[tuple[str, Any]]:
    """Name and bf16 tensor of each; reports progress every two seconds."""
    import torch
    from gguf import dequantize

    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    reported = time.monotonic()
    for position, tensor in enumerate(tensors, start=done + 1):
        name, part = _hf_name(source, tensor.name)
        weights = torch.tensor(dequantize(tensor.data, tensor.tensor_type))
        if part in heads:
            # llama.cpp rotates neighbouring rows, Hugging Face rows half a head apart
            # (convert_hf_to_gguf.py, LlamaModel.permute); this reverses it.
            rows = weights.reshape(heads[part], -1, 2, *weights.shape[1:])
            weights = rows.swapaxes(1, 2).reshape(weights.shape)
        yield name, weights.to(torch.bfloat16).contiguous()
        if time.monotonic() - reported > 2 or position == total:
            reported = time.monotonic()
            say(f"weights: {position} of {total} tensors ({100 * position // total} %)")


def _hf_name(source: Path, name: str) -> tuple[str, str]:
    """The Hugging Face name, and the tensor's part of a block ("" outside the blocks)."""
    if name in TOP_TENSORS:
        return TOP_TENSORS[name], ""
    pieces = name.split(".")
    if len(pieces) == 4 and pieces[0] == "blk" and pieces[2] in BLOCK_TENSORS:
        return f"model.layers.{pieces[1]}.{BLOCK_TENSORS[pieces[2]]}.{pieces[3]}", pieces[2]
    raise ConversionError(f"{source}: tensor {name!r} does not belong to a llama model; {INSTEAD}")


def _read_marker(out: Path) -> dict[str, Any] | None:
    try:
        marker = json.loads((out / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return marker if isinstance(marker, dict) and "sha256" in marker else None


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(folder: Path) -> None:
    for path in [*folder.iterdir(), folder]:
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


def _swap(new: Path, place: Path) -> None:
    """Put `new` at `place`. As a folder cannot be renamed over another, the old folder moves
    aside."""
    aside = place.with_name(place.name + ".old")
    shutil.rmtree(aside, ignore_errors=True)
    if place.exists():
        place.rename(aside)
    new.rename(place)
    shutil.rmtree(aside, ignore_errors=True)


def main(arguments: list[str]) -> int:
    if len(arguments) != 2:
        print("usage: python training/artefacts/convert.py MODEL.gguf OUT_DIR", file=sys.stderr)
        return 2
    source, out = Path(arguments[0]), Path(arguments[1])
    started = time.monotonic()
    try:
        made = convert(source, out)
    except (ConversionError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    took = time.monotonic() - started
    say(f"{out}: converted in {took:.0f} s" if made else f"{out}: already converted")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
