"""Everything the widget shows, from Jinja templates. Whatever is not Markup is escaped."""

from collections.abc import Mapping
from math import ceil
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from widget import dialect, markdown
from widget.asks import MAX_QUESTION, Ask
from widget.assets import Asset
from widget.gateway import Outcome, Reading, Source
from widget.origins import web_address
from widget.settings import WidgetSettings
from widget.states import Done, Failed

TEMPLATES = Path(__file__).parent / "templates"
MODES = ("page", "panel", "inline")
SCHEMES = ("light", "dark")
MAX_LABEL = 100
MAX_QUOTE = 16_000  # characters of a quoted section


class Views:
    """Renders pages and fragments."""

    def __init__(self, settings: WidgetSettings, assets: Mapping[str, Asset]) -> None:
        self.settings = settings
        self.env = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.env.globals["asset"] = lambda name: assets[name].address
        self.env.globals["max_question"] = MAX_QUESTION
        self.env.filters["web_address"] = web_address
        self.env.filters["target"] = lambda url: markdown.target(url, settings.origins)

    def index(self, script: str) -> str:
        """The page that shows the box and the line that puts it elsewhere."""
        return self._render("index.html", script=script, title=self.settings.title)

    def box(
        self,
        params: Mapping[str, str],
        *,
        article: str = "",
        question: str = "",
        problem: str = "",
    ) -> str:
        """The page in the frame. `params` come from the address and are not trusted."""
        mode = params.get("mode", "")
        scheme = params.get("scheme", "")
        return self._render(
            "box.html",
            title=params.get("title", "")[:MAX_LABEL].strip() or self.settings.title,
            placeholder=params.get("placeholder", "")[:MAX_LABEL].strip() or "Ask a question",
            page=web_address(params.get("page", "")),
            token=params.get("token", ""),
            mode=mode if mode in MODES else "page",
            scheme=scheme if scheme in SCHEMES else "",
            article=Markup(article),  # noqa: S704  # rendered by `article` below
            question=question,
            problem=problem,
        )

    def article(self, ask: Ask) -> str:
        """A question, and the place where its answer will appear."""
        return self._render("article.html", ask=ask, outcome="")

    def finished(self, ask: Ask, state: Done | Failed) -> str:
        """A question with its answer, for a browser without JavaScript."""
        outcome = Markup(self.outcome(ask.id, state))  # noqa: S704
        return self._render("article.html", ask=ask, outcome=outcome)

    def reading(self, reading: Reading) -> str:
        """What the model reads now, in a sentence."""
        seconds = None if reading.seconds is None else max(1, ceil(reading.seconds))
        tokens = sum(page.tokens for page in reading.reading)
        return self._render("reading.html", pages=reading.reading, tokens=tokens, seconds=seconds)

    def answer(self, text: str, outcome: Outcome | None = None) -> Markup:
        """The answer as HTML. Its relative links are those of the page it was written from."""
        base = outcome.sources[0].url if outcome and outcome.sources else ""
        return markdown.render(text, origins=self.settings.origins, base=web_address(base))

    def outcome(self, id: str, state: Done | Failed) -> str:
        """What stands under the question when all is over."""
        if isinstance(state, Failed):
            return self._render(
                "failed.html", id=id, sentence=state.sentence, answer=self.answer(state.text)
            )
        return self._render(
            "done.html",
            id=id,
            answer=self.answer(state.text, state.outcome),
            outcome=state.outcome,
            stopped=state.stopped,
            sources=[(source, self.quote(source)) for source in state.outcome.sources],
        )

    def quote(self, source: Source) -> Markup:
        """The quoted section as HTML."""
        return markdown.render(
            dialect.plain(source.quote[:MAX_QUOTE]),
            origins=self.settings.origins,
            base=web_address(source.url),
            images=True,
        )

    def problem(self, sentence: str, token: str = "") -> str:
        """Why a question was not taken, and a fresh token for the next try."""
        return self._render("problem.html", problem=sentence, token=token)

    def _render(self, name: str, **values: object) -> str:
        return self.env.get_template(name).render(**values)
