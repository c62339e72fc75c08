"""Fill in the middle: formats prompt and suffix with the tokens that a code model expects.

Neither vLLM nor llama.cpp takes `suffix` in /v1/completions. The model's own tokenizer is asked
which of the known frames it has: a marker that the model was trained with is one token, and to any
other model it is some letters.
"""

import asyncio
from dataclasses import dataclass

from gateway.core.http import ApiError
from gateway.upstream.engine import Engine


@dataclass(frozen=True, slots=True)
class Family:
    """How the models of one family mark prefix and suffix."""

    name: str
    markers: tuple[str, ...]
    frame: str
    """The prompt, with {prefix} and {suffix} in it."""

    def render(self, prefix: str, suffix: str) -> str:
        return self.frame.format(prefix=prefix, suffix=suffix)


# Prefix, suffix, middle, as every one of these models was trained, but for Codestral, whose
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
    # <MID>": the spaces before the markers are the U+2581 in the names of the tokens; the one after
    # <PRE> is the space that SentencePiece puts before a text, and after <SUF> there is none.
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
    """Renders for one engine. What its model understands is asked once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: tuple[Family, ...] | None = None

    async def render(self, prompt: str, suffix: str) -> str:
        """The prompt that makes the model write what stands between `prompt` and `suffix`.

        A marker that stands in the code itself gets a space after its first character: as a token
        it would end the frame early. The model reads a slightly different text there, and editing
        a file about such markers works.

        Raises:
            ApiError: 400, the model has no tokens for it.
            AskdocsError, httpx.HTTPError: the engine is away.
        """
        if not await self.is_able():
            model = (await self._engine.model()).id
            raise not_supported(model)
        assert self._known
        markers = [marker for family in self._known for marker in family.markers]
        return self._known[0].render(broken(prompt, markers), broken(suffix, markers))

    async def is_able(self) -> bool:
        """Has its model tokens for it? Raises AskdocsError, httpx.HTTPError: the engine is away."""
        if self._known is None:
            self._known = await self._find()
        return bool(self._known)

    async def _find(self) -> tuple[Family, ...]:
        has = await asyncio.gather(*(self._has(family) for family in FAMILIES))
        return tuple(family for family, yes in zip(FAMILIES, has, strict=True) if yes)

    async def _has(self, family: Family) -> bool:
        # Where an engine has no tokenizer to ask, the estimate is more than one for each of them.
        return all([await self._engine.count(marker) == 1 for marker in family.markers])


def not_supported(model: str) -> ApiError:
    """400: nobody can fill in the middle with this model."""
    return ApiError(
        400,
        f"the model {model!r} cannot fill in the middle: it has no tokens for a suffix."
        " Leave out suffix, or ask a code model (Qwen2.5-Coder, for example) behind an"
        " alias of its own",
        param="suffix",
        code="fim_not_supported",
    )


def broken(text: str, markers: list[str]) -> str:
    """`text` with a space after the first character of each marker in it."""
    for marker in markers:
        text = text.replace(marker, f"{marker[0]} {marker[1:]}")
    return text
