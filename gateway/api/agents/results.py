"""Results for agents: structured data, and text that marks the wiki's words as quoted."""

from pydantic import BaseModel, Field, field_validator

from gateway.answering.grounding.neutral import neutral


class NeutralModel(BaseModel):
    """Text for a model: page text cannot be mistaken for a message."""

    @field_validator("*")
    @classmethod
    def _neutral(cls, value: object) -> object:
        if isinstance(value, list):
            return [cls._neutral(item) for item in value]
        return neutral(value) if isinstance(value, str) else value


class PageHit(NeutralModel):
    """A page that was found."""

    title: str = Field(description="Title of the page.")
    section: str = Field(
        description="Its section that fits the query best, under the headings above it; empty for"
        " the text above the first heading."
    )
    url: str = Field(description="Address of that section: cite it, or give it to read_page.")
    excerpt: str = Field(description="The beginning of that section, as Markdown.")
    score: float = Field(
        description="About 1 for a page that answers in the words of the query; compare them."
    )


class SearchResult(NeutralModel):
    """What `search_docs` answers."""

    results: list[PageHit] = Field(description="Pages, best first.")

    def text(self) -> str:
        if not self.results:
            return "No page was found: try other words, fewer of them, or those the wiki may use."
        shown = [
            f"{number}. {page.url}\n{delimited(page.excerpt, page.title, section=page.section)}"
            for number, page in enumerate(self.results, 1)
        ]
        return "\n\n".join(shown)


class PageText(NeutralModel):
    """What `read_page` answers."""

    title: str = Field(description="Title of the page.")
    url: str = Field(description="Address of the page, or of the section that was asked for.")
    section: str = Field(description="The section that was asked for; empty: the whole page.")
    markdown: str = Field(description="The text of this part, cut between sections.")
    part: int = Field(description="Which part this is, from 1.")
    parts: int = Field(description="How many parts there are; ask for the others by `part`.")
    tokens: int = Field(description="Tokens of this part, rather too many than too few.")
    max_tokens: int = Field(description="The most tokens that a part has.")
    sections: list[str] = Field(
        description="What sections the page has, where it was cut; each can be read by itself."
    )

    def text(self) -> str:
        shown = delimited(self.markdown, self.title, url=self.url, section=self.section)
        if self.parts == 1:
            return shown
        more = f"; the next one is part={self.part + 1}" if self.part < self.parts else ""
        names = "\n".join(f"- {name}" for name in self.sections)
        return (
            f"{shown}\n\nThis is part {self.part} of {self.parts}, each of at most"
            f" {self.max_tokens:,} tokens{more}. The sections of the page:\n"
            f"{delimited(names, self.title)}"
        )


class Link(NeutralModel):
    """A page."""

    title: str
    url: str


class Source(Link):
    """A section that an answer stands on."""

    section: str = Field(description="The section, under the headings above it.")
    quote: str = Field(description="Its words, as Markdown.")


class DocsAnswer(NeutralModel):
    """What `ask_docs` answers."""

    answered: bool = Field(description="False: the documentation does not answer the question.")
    answer: str = Field(description="The answer, as Markdown.")
    caution: bool = Field(description="True: the answer may be wrong, so read its sources.")
    sources: list[Source] = Field(description="What the answer stands on.")
    related: list[Link] = Field(description="The pages that are nearest to the question.")

    def text(self) -> str:
        if not self.answered:
            related = "\n".join(f"- {link.title}: {link.url}" for link in self.related)
            near = f" The nearest pages:\n{delimited(related)}" if related else ""
            return f"The documentation does not answer this.{near}"
        sources = [
            f"{source.url}\n{delimited(source.quote, source.title, section=source.section)}"
            for source in self.sources
        ]
        doubt = "This may be wrong: read the sources." if self.caution else ""
        shown = [self.answer, doubt, "Sources:" if sources else "", *sources]
        return "\n\n".join(part for part in shown if part)


def delimited(text: str, title: str = "", url: str = "", section: str = "") -> str:
    """Words of the wiki, between marks that they cannot close: see
    `gateway.answering.grounding.prompt`."""
    values = {"title": title, "section": section, "url": url}
    marks = "".join(f' {name}="{_plain(value)}"' for name, value in values.items() if value)
    return f"<page{marks}>\n{neutral(text)}\n</page>"


def _plain(value: str) -> str:
    return neutral(" ".join(value.replace('"', "'").split()))
