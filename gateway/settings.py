"""The `[gateway]` section of the settings."""

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from core.settings import Hosts, Section
from wiki.rules import Rule, Rules, WithoutGroups

# "@" is for versions: docs@v7. Some clients interpret a slash as a provider.
NAME = r"^[A-Za-z0-9][A-Za-z0-9._@:-]{0,99}$"
LONGEST = 20_000  # maximum characters of an alias's instructions
ENGINE = "engine"  # the checker name of the engine itself
RULES = "rules"  # the checker name of the rules alone
Checking = Literal["mark", "hold", "off"]
Score = Annotated[float, Field(ge=0, le=1)]
_STRICT = ConfigDict(frozen=True, extra="forbid")


class ModelEntry(BaseModel):
    """A model beside `base`: at another engine of ours, or at a provider that LiteLLM knows."""

    model_config = _STRICT

    url: str | None = Field(
        None, description="Base URL of your own engine (vLLM, llama.cpp), with /v1."
    )
    model: str | None = Field(
        None, description="The model's name at that engine; its first listed model when not set."
    )
    litellm: str | None = Field(
        None, description="A provider's model under its LiteLLM name, such as openai/gpt-4.1-mini."
    )
    api_base: str | None = Field(None, description="The provider's address, if not its usual one.")
    key_env: str | None = Field(
        None, description="Name of the environment variable with its API key."
    )

    judges: Literal["chat", "rerank", "score", "classify"] = Field(
        "chat", description="Endpoint to call when this model is the checker."
    )
    threshold: float | None = Field(
        None,
        description="Score below which it marks a sentence, measured by `askdocs eval check` for"
        " this version; checker_threshold when not set.",
    )

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.url is None) == (self.litellm is None):
            raise ValueError("a model has either url (your engine) or litellm (a provider)")
        if self.litellm is None and self.api_base is not None:
            raise ValueError("api_base belongs to litellm; your engine has url")
        if self.url is None and self.model is not None:
            raise ValueError("model belongs to url; with litellm the name is part of it")
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise ValueError(f"url must begin with http:// or https:// (it is {self.url!r})")
        return self


class Alias(BaseModel):
    """What a name that clients use stands for."""

    model_config = _STRICT

    targets: dict[str, float] = Field(
        description="Models and their weights, { base = 90, spare = 10 }; or one model's name."
    )
    fallback: tuple[str, ...] = Field(
        (), description="Models or aliases to try, in this order, when the target fails."
    )
    grounding: bool = Field(False, description="Base answers on pages of the wiki?")
    check: Checking = Field(
        "mark",
        description="mark: answers stream, and unsupported sentences are marked at the end;"
        " hold: only supported sentences are sent; off: nothing is checked.",
    )
    thresholds: dict[str, dict[str, Score]] = Field(
        {},
        description="Scores below which sentences of a model's answers are marked, by model and"
        " checker (rules, engine, or one of your models); `askdocs models promote` adds those of"
        " the version.",
    )
    sources: tuple[str, ...] = Field(
        (),
        description="Wikis to answer from, by their names in `askdocs docs stats`; all when not"
        " set.",
    )
    instructions: str | None = Field(
        None,
        max_length=LONGEST,
        description="Instructions for models, sent before every question and after the gateway's"
        " own.",
    )
    first_byte: float = Field(
        30.0,
        gt=0,
        le=600,
        description="Seconds to wait for the first byte before trying the next fallback.",
    )

    @field_validator("targets", mode="before")
    @classmethod
    def _one_target(cls, value: Any) -> Any:
        return {value: 1.0} if isinstance(value, str) else value

    @field_validator("targets")
    @classmethod
    def _weights(cls, value: dict[str, float]) -> dict[str, float]:
        if not value:
            raise ValueError("name at least one model")
        for name, weight in value.items():
            if not 0 <= weight < float("inf"):
                raise ValueError(f"the weight of {name!r} must not be negative (it is {weight})")
        if not sum(value.values()):
            raise ValueError("the weights add up to 0: give one model a weight above 0")
        return value


class GatewaySettings(Section):
    """Where the gateway listens, which engine it stands in front of, and what it grounds in."""

    section: ClassVar[str] = "gateway"

    host: str = Field("127.0.0.1", description="Address that the gateway listens on.")
    port: int = Field(4000, ge=1, le=65535, description="Port that the gateway listens on.")
    hosts: Hosts = ()
    key: SecretStr | None = Field(
        None, description="The API key that clients send. Environment only."
    )
    previous_key: SecretStr | None = Field(
        None, description="The previous key, accepted during key rotation. Environment only."
    )
    workers: int = Field(
        1,
        ge=1,
        le=64,
        description="Worker processes. With several, exact limits need ASKDOCS_REDIS_URL.",
    )
    drain: int = Field(
        25,
        ge=0,
        le=3600,
        description="Seconds that running answers get to finish when the gateway stops.",
    )
    database_url: SecretStr | None = Field(
        None, description="Keys, aliases, usage: sqlite:///FILE or postgresql://. Environment only."
    )
    redis_url: SecretStr | None = Field(
        None, description="Redis, to enforce limits across workers. Environment only."
    )
    models: dict[str, ModelEntry] = Field(
        {}, description="Models beside base, each a table [gateway.models.NAME]."
    )
    aliases: dict[str, Alias] = Field(
        {}, description="Names that clients use, each a table [gateway.aliases.NAME]."
    )
    cors_origins: tuple[str, ...] = Field(
        (), description="Origins whose pages may call the API from a browser, exactly as sent."
    )
    access_log: str | None = Field(
        None, description="Access log file, one JSON line per request; - is the standard output."
    )
    log_prompts: bool = Field(
        False, description="Also write questions and answers to the access log."
    )
    engine_url: str = Field(
        "http://127.0.0.1:8001/v1", description="Base URL of the engine's OpenAI API, with /v1."
    )
    engine_model: str | None = Field(
        None, description="Model name at the engine; its first listed model when not set."
    )
    engine_key: SecretStr | None = Field(
        None, description="API key for the engine, if required. Environment only."
    )
    model_name: str | None = Field(
        None, description="Display name of the model, for example SmolLM2-135M-Instruct."
    )
    docs: str | None = Field(
        None,
        description="Folder of pages, or address of a site, to answer from; wikis synced by"
        " `askdocs docs sync` need no entry here.",
    )
    docs_kind: (
        Literal["mkdocs", "docusaurus", "gitbook", "vitepress", "obsidian", "html", "preview"]
        | None
    ) = Field(
        None,
        description="Generator of that folder, if it cannot be detected; preview is the site"
        " that askdocs up builds.",
    )
    site_url: str = Field(
        "http://127.0.0.1:8000/",
        description="Public address of that folder's pages, for links in answers.",
    )
    index: Path = Field(
        Path(".askdocs/index.db"), description="File of the search index; created when missing."
    )
    page_budget: int = Field(
        3000,
        ge=200,
        description="Token budget for wiki text in the prompt, filled with as many pages as fit.",
    )
    prefill_page: int = Field(
        0,
        ge=0,
        description="Maximum tokens of a prefilled page that is sent whole, beyond page_budget.",
    )
    max_tokens: int = Field(
        1024, ge=16, description="Default maximum length of a grounded answer, in tokens."
    )
    max_output: int = Field(
        4096,
        ge=16,
        description="Default maximum length of any other answer, in tokens, where the rest of the"
        " context is unknown or the key has a limit of tokens.",
    )
    llms_public: bool = Field(
        False,
        description="Serve /llms.txt and /llms-full.txt without a key, with all pages behind"
        " docs: for public wikis.",
    )
    checker: str | None = Field(
        None,
        description="Model that checks answers in addition to the rules: engine (the model at"
        " engine_url), one of your models with a url, or the path of a judge (an .onnx file).",
    )
    checker_threshold: float = Field(
        0.5, description="Score below which a checker without its own threshold marks a sentence."
    )
    answers: Literal["write", "quote"] = Field(
        "write",
        description="Answer mode: write, or quote sentences of the page. Quoting suits small"
        " models; the engine must be llama.cpp or vLLM.",
    )
    rights: dict[str, Rule] = Field(
        {},
        description="Page permissions, added to those of sources and front matter: one table"
        " [gateway.rights.NAME] per rule.",
    )
    pages_without_groups: WithoutGroups | None = Field(
        None,
        description="Who may read a page without groups; when not set, everybody until a page or"
        " a rule has groups, and nobody from then on.",
    )
    prefill: bool = Field(
        False, description="Prefill pages in the background so that first questions are fast."
    )
    states: Path | None = Field(
        None,
        description="Folder for KV cache snapshots of llama.cpp on this machine.",
    )
    max_body: int = Field(
        8 * 2**20, ge=1024, description="Largest request body in bytes; larger ones get 413."
    )

    @property
    def rules(self) -> Rules:
        """The rules of rights."""
        return Rules(self.rights, self.pages_without_groups)

    @field_validator("docs")
    @classmethod
    def _named(cls, value: str | None) -> str | None:
        return value or None  # an empty variable counts as not set

    @field_validator("models", "aliases")
    @classmethod
    def _names(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            if not re.match(NAME, name):
                raise ValueError(
                    f"{name!r} is not a valid model name: use letters, digits and . _ @ : -"
                )
        return value

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if (
            self.checker not in (None, ENGINE)
            and not str(self.checker).endswith(".onnx")
            and not (self.checker in self.models and self.models[self.checker].url)
        ):
            raise ValueError(
                f"checker = {self.checker!r} is neither an .onnx file nor a model with url; known "
                "are"
                f" {', '.join([ENGINE, *(n for n, m in self.models.items() if m.url)])}"
            )
        for name in self.models:
            if name in self.aliases:
                raise ValueError(f"{name!r} is both a model and an alias: rename one of them")
        return self
