"""The `[search]` section of the settings."""

from typing import ClassVar

from pydantic import Field

from gateway.settings import Section

BUNDLED = "bundled"


class SearchSettings(Section):
    """Which models find the passages for a question."""

    section: ClassVar[str] = "search"

    embedder: str = Field(
        BUNDLED,
        description="Embedding model: bundled, the folder of a model in ONNX (with a slash), or a"
        " name of [gateway.models] or [gateway.aliases]. Another one embeds all pages anew.",
    )
    query_prefix: str | None = Field(
        None, description='What stands before a question ("query: "); else as the model has it.'
    )
    passage_prefix: str | None = Field(
        None, description='What stands before a passage ("passage: "); else as the model has it.'
    )
    reranker: str | None = Field(
        None,
        description="Model that puts the first passages in order: the folder of a cross-encoder in"
        " ONNX (with a slash), or a name of [gateway.models] or [gateway.aliases].",
    )
    rerank_passages: int = Field(20, ge=2, le=50, description="Passages that it sees.")
    rerank_seconds: float = Field(
        0.5, gt=0, le=10, description="Seconds that it has; then the order stays as it was."
    )
