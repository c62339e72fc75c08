"""The parts of an answer, as the gateway sends them and the store keeps them."""

from typing import Any, Self

from pydantic import BaseModel, model_validator

from wiki.rights import NOBODY, dump


class Page(BaseModel):
    """A page of the wiki."""

    title: str = ""
    url: str = ""


class PageRead(Page):
    """A page that the model reads, with its length."""

    tokens: int = 0


class Reading(BaseModel):
    """The pages that the model reads before it answers, and the expected time."""

    reading: tuple[PageRead, ...] = ()
    seconds: float | None = None


class Source(Page):
    """A section that the answer cites."""

    section: str = ""
    quote: str = ""
    rest: str = ""
    """The text that follows a quotation in its section."""


class Citation(Page):
    """A part of the answer and the page that it cites, like OpenAI's `url_citation`."""

    start_index: int = 0
    end_index: int = 0
    """Character positions in the answer, end exclusive."""


class Claim(BaseModel):
    """The check result for a sentence of an answer."""

    start: int = 0
    end: int = 0
    """Character positions in the answer, end exclusive."""
    verdict: str = "none"
    """supported, unsupported or contradicted; none: the sentence makes no claim."""
    reason: str | None = ""
    """For an unsupported sentence: a keyword, and the fact in question: `number: 14`."""
    source: str | None = ""
    """Address of the section that it was checked against."""

    @property
    def is_flawed(self) -> bool:
        """Should the sentence be marked?"""
        return self.verdict in ("unsupported", "contradicted")


class Rights(BaseModel):
    """The groups required to read some pages, in the form of `wiki.rights`."""

    revision: str
    """Changes whenever the readers of a page change."""
    readers: tuple[tuple[frozenset[str], ...], ...]
    known: tuple[bool, ...] = ()
    """Is each page in the wiki? Empty if the gateway does not say."""


class Outcome(BaseModel):
    """The gateway's data about a finished answer."""

    model: str = ""
    """The model's display name."""
    served: str = ""
    """The model version in the gateway's counters, such as docs@v7; the alias if no model was
    asked."""
    mode: str = ""
    """`extractive` for quotations, `generative` if a model wrote the answer."""
    refused: bool = False
    confidence: float | None = None
    caution: bool = False
    sources: tuple[Source, ...] = ()
    pages: tuple[Page, ...] = ()
    citations: tuple[Citation, ...] = ()
    claims: tuple[Claim, ...] = ()
    verdict: str | None = None
    """The worst verdict of the claims; None: not checked."""
    readers: tuple[tuple[str, ...], ...] | None = None
    """The groups required to read all of the answer's pages, in the form of
    `wiki.rights`; None: the gateway does not say."""
    cut: bool = False
    """Were unsupported sentences left out?"""

    @model_validator(mode="before")
    @classmethod
    def _of_before(cls, data: Any) -> Any:
        """Older gateways and stored answers have `answers: quote` instead of `mode: extractive`."""
        if isinstance(data, dict) and data.get("answers") == "quote":
            data = {"mode": "extractive", **data}
        return data

    @model_validator(mode="after")
    def _stands_on_something(self) -> Self:
        """An answer without any supported claim counts as a refusal."""
        verdicts = {claim.verdict for claim in self.claims}
        if verdicts & {"unsupported", "contradicted"} and "supported" not in verdicts:
            self.refused = True
        return self

    @property
    def is_quotation(self) -> bool:
        """Is the answer quoted from the pages?"""
        return self.mode == "extractive" and bool(self.sources) and not self.refused

    @property
    def flaws(self) -> list[Claim]:
        """The claims to mark."""
        return [claim for claim in self.claims if claim.is_flawed and claim.start < claim.end]

    def needed(self, groups: frozenset[str]) -> str | None:
        """The groups required to read the answer, in stored form; `groups` are the asker's."""
        if self.readers is None:  # it broke off, or the gateway is older
            return dump(NOBODY) if groups else None
        return dump(tuple(map(frozenset, self.readers))) if self.readers else None

    @property
    def urls(self) -> list[str]:
        """The pages that it shows."""
        return [page.url.partition("#")[0] for page in (*self.sources, *self.pages) if page.url]

    def stored(self) -> dict[str, Any]:
        """The fields to store."""
        fields = {"sources", "citations", "pages", "model", "mode", "claims", "caution", "cut"}
        return self.model_dump(mode="json", include=fields)
