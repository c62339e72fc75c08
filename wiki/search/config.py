"""The `[search]` section of the settings."""

from typing import ClassVar

from pydantic import Field, field_validator

from core.settings import Section
from wiki.search.glossary import MANY, MOST_WORDS, key

BUNDLED = "bundled"
OFF = "off"


class SearchSettings(Section):
    """The models that find the passages for a question."""

    section: ClassVar[str] = "search"

    embedder: str = Field(
        BUNDLED,
        description="Embedding model: bundled, the folder of a model in ONNX (with a slash), or a"
        " name of [gateway.models] or [gateway.aliases]. A change embeds all pages again.",
    )
    query_prefix: str | None = Field(
        None, description='Prefix of a question ("query: "); when not set, the model\'s own.'
    )
    passage_prefix: str | None = Field(
        None, description='Prefix of a passage ("passage: "); when not set, the model\'s own.'
    )
    reranker: str = Field(
        BUNDLED,
        description="Reranker: bundled, off, the folder of a cross-encoder in ONNX (with a slash),"
        " or a name of [gateway.models] or [gateway.aliases].",
    )
    rerank_passages: int = Field(
        20,
        ge=2,
        le=50,
        description="Number of passages to rerank; the bundled reranker sees 8 at most.",
    )
    rerank_seconds: float = Field(
        0.5,
        gt=0,
        le=10,
        description="Time limit of the reranker in seconds; passages not read by then keep their"
        " order.",
    )
    glossary: dict[str, list[str]] = Field(
        {},
        description="Your team's terms, each with up to three synonyms that the wiki uses.",
    )

    @field_validator("glossary")
    @classmethod
    def _few_names(cls, glossary: dict[str, list[str]]) -> dict[str, list[str]]:
        if len(glossary) > MOST_WORDS:
            raise ValueError(f"has {len(glossary):,} words; at most {MOST_WORDS} are allowed")
        for word, others in glossary.items():
            if not 1 <= len(others) <= MANY:
                raise ValueError(f"{word}: needs 1 to {MANY} other words")
            for name in (word, *others):
                if not key(name):
                    raise ValueError(f"{name!r} is not a name of 1 to 4 words")
        return glossary
