"""The `[up]` section of the settings: what `askdocs up` starts on one machine."""

from typing import ClassVar, Literal

from pydantic import Field

from core.settings import Hosts, Section


class UpSettings(Section):
    """Wiki, engine, ports."""

    section: ClassVar[str] = "up"

    docs: str = Field(
        "docs", description="Your wiki: a folder of pages or documents, or the address of a wiki."
    )
    gateway_port: int = Field(4000, ge=1, le=65535, description="Port of the OpenAI API.")
    widget_port: int = Field(8080, ge=1, le=65535, description="Port of the widget.")
    site_port: int = Field(8000, ge=1, le=65535, description="Port of the wiki as a site.")
    site_hosts: Hosts = ()
    engine: Literal["llama.cpp", "vllm"] = Field(
        "llama.cpp", description="Engine to start: llama.cpp or vllm."
    )
    engine_url: str | None = Field(
        None,
        description="Address of a running OpenAI-compatible server, with /v1; no engine is"
        " started.",
    )
    model: str | None = Field(
        None,
        description="GGUF file, model folder or hub id; with engine_url the model's name there."
        " SmolLM2-135M-Instruct when not set.",
    )
    autocomplete: str | None = Field(
        None,
        description="Code model for autocomplete in editors: a GGUF file or hub id, started"
        " beside the engine, or the address of a running server, with /v1.",
    )
    answers: Literal["auto", "write", "quote"] = Field(
        "auto",
        description="Answer mode: write or quote the page's sentences; auto quotes with the"
        " bundled small model and writes with others.",
    )
    context: int = Field(8192, ge=1024, description="Tokens of context per request.")
    threads: int | None = Field(
        None, ge=1, description="Compute threads of the engine; the machine's cores when not set."
    )
    adapters: int | None = Field(
        None,
        ge=0,
        description="Adapters loaded at once in vLLM; 4 on a GPU and 0 on a CPU when not set. 0:"
        " versions are served merged, each by its own process.",
    )
    prefill: bool = Field(
        True,
        description="Prefill the wiki's pages in the background, so that answers begin sooner.",
    )
    first_token: float = Field(
        5.0,
        gt=0,
        description="Time budget for prefill in seconds; determines how much of a page is read.",
    )
