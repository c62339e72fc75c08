"""The `[search]` section of the settings."""

from typing import ClassVar

from pydantic import Field

from gateway.core.settings import Section

BUNDLED = "bundled"


class SearchSettings(Section):
    """Which models find the passages for a question."""

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
    reranker: str | None = Field(
        None,
        description="Model that sorts the first passages: the folder of a cross-encoder in"
        " ONNX (with a slash), or a name of [gateway.models] or [gateway.aliases].",
    )
    rerank_passages: int = Field(20, ge=2, le=50, description="Passages that the reranker gets.")
    rerank_seconds: float = Field(
        0.5,
        gt=0,
        le=10,
        description="Seconds that the reranker may take; then the order of the search stays.",
    )
