"""The `[gateway]` section of the settings."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, SecretStr

from gateway.settings import Section


class GatewaySettings(Section):
    """Where the gateway listens, which engine it stands in front of, and what it grounds in."""

    section: ClassVar[str] = "gateway"

    host: str = Field("127.0.0.1", description="Address that the gateway listens on.")
    port: int = Field(4000, ge=1, le=65535, description="Port that the gateway listens on.")
    key: SecretStr | None = Field(
        None, description="The API key that clients send. Environment only."
    )
    engine_url: str = Field(
        "http://127.0.0.1:8001/v1", description="Base URL of the engine's OpenAI API, with /v1."
    )
    engine_model: str | None = Field(
        None, description="Model name at the engine; the first one that it lists when not set."
    )
    engine_key: SecretStr | None = Field(
        None, description="API key for the engine, if it wants one. Environment only."
    )
    model_name: str | None = Field(
        None, description="Name of the model for people, for example SmolLM2-135M-Instruct."
    )
    docs: Path | None = Field(None, description="Folder of Markdown pages that answers stand on.")
    site_url: str = Field(
        "http://127.0.0.1:8000/", description="Address of the wiki's site; links in answers."
    )
    index: Path = Field(
        Path(".askdocs/index.db"), description="File of the search index; made when missing."
    )
    page_budget: int = Field(
        3000, ge=200, description="Tokens of wiki text that may stand in front of a question."
    )
    max_pages: int = Field(
        1, ge=1, le=20, description="Pages in front of a question, as far as the budget reaches."
    )
    prefill_rate: float | None = Field(
        None, gt=0, description="Measured tokens per second that the engine reads; for estimates."
    )
    max_tokens: int = Field(
        256, ge=16, description="Length of an answer, in tokens, when the client names none."
    )
    support: float = Field(
        0.6,
        ge=0,
        le=1,
        description="Share of a sentence's content words that the page must have, or the sentence"
        " is held back. 0 lets everything through.",
    )
    answers: Literal["write", "quote"] = Field(
        "write",
        description="Does the model write answers, or quote sentences of the page? Quoting is for"
        " small models; the engine must be llama.cpp or vLLM.",
    )
    warm: bool = Field(
        False, description="Read the pages in the background so that first questions are fast."
    )
    max_body: int = Field(
        8 * 2**20, ge=1024, description="Largest request body in bytes; larger ones get 413."
    )
