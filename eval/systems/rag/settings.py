"""The settings of RAG 2.0: a `rag.toml`, or the defaults."""

import tomllib
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from core.errors import AskdocsError, first_problem

BUNDLED = "bundled"


class RagSettings(BaseModel):
    """How chunks are cut, found and chosen. Every value of it may change an answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chunk_tokens: int = Field(
        512, ge=256, le=8192, description="Maximum tokens of a chunk, without its headings."
    )
    overlap: int = Field(
        64, ge=0, description="Maximum tokens that a chunk repeats from the previous chunk."
    )
    k: int = Field(100, ge=1, le=200, description="Maximum number of chunks to rerank.")
    mmr_lambda: float = Field(
        0.7, ge=0, le=1, description="Weight of relevance in MMR; 1 turns it off."
    )
    keep: int = Field(5, ge=1, le=50, description="Maximum number of chunks in the prompt.")
    budget: int = Field(3000, ge=200, description="Maximum tokens of chunks in the prompt.")
    rerank: bool = Field(True, description="Rerank the k chunks with the rerank model.")
    expand: bool = Field(False, description="Also search for paraphrases of the question.")
    decompose: bool = Field(False, description="Also search for each part of a compound question.")
    hyde: bool = Field(
        False, description="Search with the embedding of a hypothetical answer (HyDE)."
    )
    embedding_model: str = Field("minilm", description="Model for /v1/embeddings.")
    embedding_tokens: int = Field(
        256,
        ge=128,
        description="Maximum input tokens of that model; longer chunks are embedded in parts.",
    )
    input_type: bool = Field(
        False, description="Send the input type (question or document), which Cohere requires."
    )
    rerank_model: str = Field("local", description="Model for /v1/rerank.")
    chat_model: str = Field("base", description="Model that rewrites questions.")
    retriever: str = Field(
        BUNDLED,
        pattern=rf"^({BUNDLED}|https?://[^\s?#@]+)$",
        description="Address of your own retriever instead of the bundled one.",
    )

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.overlap * 2 > self.chunk_tokens:
            raise ValueError(
                f"overlap {self.overlap} is more than half of chunk_tokens {self.chunk_tokens}:"
                " lower it"
            )
        if self.keep > self.k:
            raise ValueError(f"keep {self.keep} is more than k {self.k}: lower it, or raise k")
        return self

    def toml(self) -> str:
        """A file for `load`, with each key and its meaning."""
        lines = []
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            # Syntax common to TOML and JSON; no string needs further escapes.
            shown = str(value).lower() if isinstance(value, bool) else repr(value)
            if isinstance(value, str):
                escaped = value.replace("\\", "\\\\").replace('"', '\\"')
                shown = f'"{escaped}"'
            lines.append(f"{name} = {shown}  # {field.description}")
        return "\n".join(lines) + "\n"


SEEDLING = "seedling"


def load(file: Path) -> RagSettings:
    """Read a TOML file, or the configuration named `seedling`.

    Raises AskdocsError: it cannot be read, or a key is invalid.
    """
    if str(file) == SEEDLING:
        file = Path(__file__).with_name(f"{SEEDLING}.toml")
    try:
        return RagSettings.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise AskdocsError(
            f"{file}: cannot be read ({error.strerror}): name a file that `askdocs eval sweep` "
            "wrote"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise AskdocsError(f"{file}: is not TOML ({error}): write lines like k = 20") from None
    except ValidationError as error:
        where, message = first_problem(error)
        message = message.removeprefix("Value error, ")
        known = f" (known keys: {', '.join(RagSettings.model_fields)})" if where else ""
        raise AskdocsError(f"{file}: {f'{where}: ' if where else ''}{message}{known}") from None
