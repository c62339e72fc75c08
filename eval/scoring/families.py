"""Identifies a model's family, since judges prefer answers of their own family.

Panickssery et al. 2024, https://arxiv.org/abs/2404.13076: models recognise and favour their own
output. So a judge must not belong to the family that wrote the answers.
"""

import re
from collections.abc import Iterable, Sequence

from core.errors import AskdocsError

# Substrings that identify a family in a model's name.
_KNOWN = {
    "anthropic": ("claude",),
    "alibaba": ("qwen", "qwq"),
    "cohere": ("command", "aya"),
    "deepseek": ("deepseek",),
    "google": ("gemini", "gemma"),
    "hugging face": ("smollm",),
    "ibm": ("granite",),
    "meta": ("llama",),
    "microsoft": ("phi",),
    "mistral": ("mistral", "mixtral", "ministral", "magistral"),
    "openai": ("gpt", "chatgpt", "o1", "o3", "o4"),
    "zhipu": ("glm",),
}
_WORD = re.compile(r"[a-z]+\d*")


def family(model: str) -> str | None:
    """The family of a model by its name; None if unknown."""
    for word in _WORD.findall(model.lower()):
        for name, beginnings in _KNOWN.items():
            if any(
                word == beginning or word.rstrip("0123456789") == beginning
                for beginning in beginnings
            ):
                return name
    return None


def check(judges: Sequence[tuple[str, str | None]], writers: Iterable[str]) -> list[str]:
    """Warnings for readers of the verdicts.

    Args:
        judges: models, each with its declared family.
        writers: names of the models that wrote the answers, and of their base models.

    Raises AskdocsError: a judge belongs to a writer's family, or two judges to the same family.
    """
    written = {family_name for writer in writers if (family_name := family(writer)) is not None}
    families = [named or family(model) for model, named in judges]
    for (model, _), of in zip(judges, families, strict=True):
        if of in written:
            raise AskdocsError(
                f"the judge {model} is of the family {of}, which also wrote answers of this run: "
                "name a judge of another family, or correct it with --judge-family"
            )
    known = [of for of in families if of is not None]
    if len(known) > len(set(known)):
        raise AskdocsError(
            f"the judges are of one family ({', '.join(known)}): name judges of two families, or "
            "correct this with --judge-family"
        )
    notes = []
    if None in families:
        (model, *_) = (model for (model, _), of in zip(judges, families, strict=True) if not of)
        notes.append(f"the family of the judge {model} is unknown: name it with --judge-family")
    if judges and not written:
        notes.append("the family of the models that wrote the answers is not known")
    if len(judges) == 1:
        notes.append("only one family of judges: add a second --judge-model of another family")
    return notes
