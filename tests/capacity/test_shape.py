"""Sizes of models from their config.json."""

import json
from pathlib import Path
from typing import Any

import pytest

from askdocs.capacity import models
from askdocs.capacity.shape import of_config
from core.errors import AskdocsError

# Billions of parameters, from the model cards.
PUBLISHED = {
    "meta-llama/Llama-3.1-8B-Instruct": 8.03,
    "meta-llama/Llama-3.1-70B-Instruct": 70.6,
    "meta-llama/Llama-3.3-70B-Instruct": 70.6,
    "meta-llama/Llama-3.2-1B-Instruct": 1.24,
    "meta-llama/Llama-3.2-3B-Instruct": 3.21,
    "Qwen/Qwen2.5-7B-Instruct": 7.62,
    "Qwen/Qwen2.5-14B-Instruct": 14.8,
    "Qwen/Qwen2.5-32B-Instruct": 32.8,
    "Qwen/Qwen2.5-72B-Instruct": 72.7,
    "Qwen/Qwen3-8B": 8.19,
    "Qwen/Qwen3-14B": 14.8,
    "Qwen/Qwen3-32B": 32.8,
    "Qwen/Qwen3-30B-A3B-Instruct-2507": 30.5,
    "Qwen/Qwen3-235B-A22B-FP8": 235,
    "mistralai/Mistral-7B-Instruct-v0.3": 7.25,
    "mistralai/Mixtral-8x7B-Instruct-v0.1": 46.7,
    "google/gemma-2-9b-it": 9.24,
    "google/gemma-3-1b-it": 1.00,
    "microsoft/phi-4": 14.7,
    "HuggingFaceTB/SmolLM2-135M-Instruct": 0.1345,
    "HuggingFaceTB/SmolLM2-1.7B-Instruct": 1.71,
}
# Billions that a token passes, from the names and papers of models with experts.
ACTIVE = {
    "Qwen/Qwen3-30B-A3B-Instruct-2507": 3.3,
    "Qwen/Qwen3-235B-A22B-FP8": 22,
    "mistralai/Mixtral-8x7B-Instruct-v0.1": 12.9,
}


def test_every_known_model_has_the_parameters_that_its_card_tells() -> None:
    assert set(models.known()) == set(PUBLISHED)
    for name, billions in PUBLISHED.items():
        counted = models.find(name).shape.parameters / 1e9
        assert counted == pytest.approx(billions, rel=0.005), name


def test_what_a_config_leaves_out_is_as_its_family_has_it() -> None:
    silent = config(model_type="smollm3")
    del silent["tie_word_embeddings"]
    assert of_config(silent, "c").tied
    assert not of_config(silent | {"model_type": "llama"}, "c").tied


def test_a_token_passes_only_the_experts_that_it_is_sent_to() -> None:
    for name, billions in ACTIVE.items():
        shape = models.find(name).shape
        assert (shape.active + shape.other) / 1e9 == pytest.approx(billions, rel=0.025), name


def test_a_token_of_the_cache_has_keys_and_values_of_each_head() -> None:
    llama = models.find("meta-llama/Llama-3.1-8B-Instruct").shape
    assert llama.layers * llama.cached_numbers() * 2 == 128 * 1024  # bytes in bf16
    assert llama.cached_numbers(4) * 4 == llama.cached_numbers()
    assert llama.cached_numbers(16) == 2 * llama.head_dim  # each GPU keeps a head at the least


@pytest.mark.parametrize(
    ("quantization", "bits"),
    [
        ({"quant_method": "fp8"}, 8),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, 4.156),
        ({"quant_method": "gptq", "bits": 4, "group_size": -1}, 4),  # a scale for each output
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"weights": {"num_bits": 4, "group_size": 64}}},
            },
            4.25,
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"weights": {"num_bits": 8, "group_size": None}}},
            },
            8,
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"weights": {"num_bits": 4, "group_size": -1}}},
            },
            4,
        ),
    ],
)
def test_weights_that_are_quantised_already_have_their_own_bits(
    quantization: dict[str, Any], bits: float
) -> None:
    shape = of_config(config(quantization_config=quantization), "c")
    assert shape.bits == pytest.approx(bits, abs=0.001)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model_type": "mamba"}, "model_type 'mamba' (known: gemma, "),
        ({"text_config": {}}, "cannot be planned"),
        ({"num_hidden_layers": "many"}, "num_hidden_layers is 'many', not a whole number"),
        ({"hidden_size": None}, "hidden_size is None"),
        ({"layer_types": ["linear_attention"] * 32}, "layer_types of linear_attention"),
        ({"layer_types": [1] * 32}, "layer_types of 1 cannot be planned"),
        ({"quantization_config": {"quant_method": "x"}}, "'x' is unknown: add --assume weight_b"),
        ({"quantization_config": "fp8"}, "'no method' is unknown: add --assume weight_b"),
        (
            {"quantization_config": {"quant_method": "gptq", "bits": "four"}},
            "'gptq' is unknown: add --assume weight_b",
        ),
        (
            {"quantization_config": {"quant_method": "compressed-tensors", "config_groups": [1]}},
            "'compressed-tensors' is unknown: add --assume weight_b",
        ),
    ],
)
def test_a_config_that_cannot_be_planned_is_refused_with_its_place(
    changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(AskdocsError) as raised:
        of_config(config(**changes), "here/config.json")
    assert str(raised.value).startswith("here/config.json: ")
    assert says in str(raised.value)


def test_bits_that_are_assumed_are_not_looked_up() -> None:
    unknown = config(quantization_config={"quant_method": "x"})
    assert of_config(unknown, "c", bits=5).bits == 5


def test_a_folder_a_file_and_the_hubs_cache_come_before_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "HuggingFaceTB/SmolLM2-135M-Instruct"
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config(vocab_size=1000)))
    assert models.find(str(tmp_path)) == models.find(name, file)
    assert models.find(name, file).where == str(file)
    snapshot = tmp_path / "models--HuggingFaceTB--SmolLM2-135M-Instruct"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert models.find(name).where == f"models.toml of askdocs: {name}"
    (snapshot / "snapshots" / "abc").mkdir(parents=True)
    (snapshot / "refs").mkdir()
    (snapshot / "refs" / "main").write_text("abc")
    file.rename(snapshot / "snapshots" / "abc" / "config.json")
    assert models.find(name).shape.vocab == 1000


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("nobody/nothing", None, "nobody/nothing: it is neither in the hub's cache nor on"),
        ("no name", None, "--model 'no name' is neither a local folder nor a hub id"),
        ("any/model", "{", "is not JSON"),
        ("any/model", "[]", "is not a JSON object"),
    ],
)
def test_a_model_that_is_not_found_is_an_error_with_its_fix(
    name: str, text: str | None, says: str, tmp_path: Path
) -> None:
    file = tmp_path / "config.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(AskdocsError, match=r"config\.json|owner/name") as raised:
        models.find(name, file if text is not None else None, online=False)
    assert says in str(raised.value)


def config(**changes: Any) -> dict[str, Any]:
    """Llama 3.1 8B's, with changes."""
    return {**models.known()["meta-llama/Llama-3.1-8B-Instruct"], **changes}
