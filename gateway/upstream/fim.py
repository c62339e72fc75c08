"""Fill in the middle: formats prompt and suffix with the tokens that a code model expects.

Neither vLLM nor llama.cpp accepts `suffix` in /v1/completions. The model's own tokenizer reveals
which of the known frames it supports: a marker that the model was trained with is one token, and
several letters to any other model.
"""

import asyncio
from dataclasses import dataclass

from gateway.http.asgi import ApiError
from gateway.upstream.engine import Engine


@dataclass(frozen=True, slots=True)
class Family:
    """The prefix and suffix markers of one family of models."""

    name: str
    markers: tuple[str, ...]
    frame: str
    """The prompt, with placeholders {prefix} and {suffix}."""

    def render(self, prefix: str, suffix: str) -> str:
        return self.frame.format(prefix=prefix, suffix=suffix)


# The order is prefix, suffix, middle, as all these models were trained, except Codestral, whose
# tokenizer puts the suffix first.
FAMILIES = (
    # https://github.com/QwenLM/Qwen2.5-Coder#3-file-level-code-completion-fill-in-the-middle
    # https://huggingface.co/google/codegemma-2b
    # https://huggingface.co/ibm-granite/granite-4.0-h-tiny
    Family(
        "Qwen Coder, CodeGemma, Granite 4",
        ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
        "<|fim_prefix|>{prefix}<|fim_suffix|>{suffix}<|fim_middle|>",
    ),
    # https://huggingface.co/bigcode/starcoder#fill-in-the-middle, arXiv 2402.19173 (StarCoder 2)
    # https://huggingface.co/ibm-granite/granite-8b-code-base-4k, stabilityai/stable-code-3b
    Family(
        "StarCoder, Granite Code, Stable Code",
        ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
        "<fim_prefix>{prefix}<fim_suffix>{suffix}<fim_middle>",
    ),
    # https://huggingface.co/bigcode/santacoder: the same with hyphens
    Family(
        "SantaCoder",
        ("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),
        "<fim-prefix>{prefix}<fim-suffix>{suffix}<fim-middle>",
    ),
    # https://github.com/deepseek-ai/DeepSeek-Coder#2-code-insertion: full-width bars, and U+2581
    Family(
        "DeepSeek Coder",
        ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
        "<｜fim▁begin｜>{prefix}<｜fim▁hole｜>{suffix}<｜fim▁end｜>",
    ),
    # https://github.com/meta-llama/codellama/blob/main/llama/generation.py, "<PRE> {pre} <SUF>{suf}
    # <MID>": the spaces before the markers are the U+2581 in the tokens' names; the space after
    # <PRE> is the one that SentencePiece puts before a text, and there is none after <SUF>.
    Family(
        "CodeLlama",
        ("▁<PRE>", "▁<SUF>", "▁<MID>"),
        "▁<PRE> {prefix}▁<SUF>{suffix}▁<MID>",
    ),
    Family(
        "CodeLlama, its markers written plainly",
        ("<PRE>", "<SUF>", "<MID>"),
        "<PRE> {prefix} <SUF>{suffix} <MID>",
    ),
    # encode_fim in https://github.com/mistralai/mistral-common
    # (src/mistral_common/tokens/tokenizers/instruct.py)
    Family("Codestral", ("[SUFFIX]", "[PREFIX]"), "[SUFFIX]{suffix}[PREFIX]{prefix}"),
)


class Fim:
    """Renders prompts for one engine. Looks up the model's family once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: tuple[Family, ...] | None = None

    async def render(self, prompt: str, suffix: str) -> str:
        """The prompt that makes the model write the text between `prompt` and `suffix`.

        A marker in the code itself gets a space after its first character, as it would end the
        frame early. The model reads a slightly different text there, but files about such markers
        can be edited.

        Raises:
            ApiError: 400, the model has no such tokens.
            AskdocsError, httpx.HTTPError: the engine is unavailable.
        """
        if not await self.is_able():
            model = (await self._engine.model()).id
            raise not_supported(model)
        assert self._known
        markers = [marker for family in self._known for marker in family.markers]
        return self._known[0].render(broken(prompt, markers), broken(suffix, markers))

    async def is_able(self) -> bool:
        """Does its model have such tokens? Raises AskdocsError, httpx.HTTPError: it is
        unavailable."""
        if self._known is None:
            self._known = await self._find()
        return bool(self._known)

    async def _find(self) -> tuple[Family, ...]:
        has = await asyncio.gather(*(self._has(family) for family in FAMILIES))
        return tuple(family for family, yes in zip(FAMILIES, has, strict=True) if yes)

    async def _has(self, family: Family) -> bool:
        # Without a tokenizer, the estimate is above one for each marker.
        return all([await self._engine.count(marker) == 1 for marker in family.markers])


def is_framed(prompt: str) -> bool:
    """Does a prompt have the markers of one of the families?"""
    return any(all(marker in prompt for marker in family.markers) for family in FAMILIES)


def not_supported(model: str) -> ApiError:
    """400: the model does not support filling in the middle."""
    return ApiError(
        400,
        f"the model {model!r} cannot fill in the middle: it has no tokens for a suffix. Omit "
        "suffix, or use a code model (such as Qwen2.5-Coder) with its own alias",
        param="suffix",
        code="fim_not_supported",
    )


def broken(text: str, markers: list[str]) -> str:
    """`text`, with a space after the first character of each marker."""
    for marker in markers:
        text = text.replace(marker, f"{marker[0]} {marker[1:]}")
    return text
