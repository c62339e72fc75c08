"""Renders the widget's HTML from Jinja templates. Anything that is not Markup is escaped.

Everything is in the request's language, see `language.py`. htmx adds the page's token to forms;
without JavaScript each form needs its own, so whatever can be part of a whole page takes a token.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from gateway.answering.grounding.wording import without_doubt
from widget.access.captcha import SERVICES
from widget.access.origins import web_address
from widget.service.assets import Asset
from widget.service.outcome import Claim, Outcome, Reading
from widget.service.pending import MAX_QUESTION, PendingQuestion
from widget.service.states import Done, End, Failed
from widget.service.store import REASONS
from widget.settings import WidgetSettings
from widget.text import citing, markdown
from widget.text.colour import accent
from widget.text.language import current
from widget.text.passage import highlighting

TEMPLATES = Path(__file__).parents[1] / "templates"
MODES = ("page", "panel", "inline")
SCHEMES = ("light", "dark")
MAX_LABEL = 100
MAX_EXAMPLES = 6
MAX_QUOTE = 16_000  # maximum characters of a quoted section
MAX_SELECTION = 2000  # maximum characters of the selected text that a question is about
# Strings for box.js.
SPOKEN = ("copied", "link_copied", "lost_server", "reconnecting", "slow", "retry")
# Address parameters that a restarted box keeps.
APPEARANCE = (
    *("page", "title", "placeholder", "examples", "lang"),
    *("mode", "scheme", "accent", "shortcut"),
)
SHORTCUT = re.compile(r"((mod|ctrl|alt|shift|meta)\+)*(?!off$)[^\s+]{1,20}")


@dataclass(frozen=True)
class Ballot:
    """A reader's vote on an answer. A bare `down` is followed by a request for reasons.

    `problem` says why nothing was stored; the typed text is kept.
    """

    vote: str = ""
    reasons: Collection[str] = ()
    text: str = ""
    problem: str = ""

    @property
    def asking(self) -> bool:
        return self.vote == "down" and (bool(self.problem) or not (self.reasons or self.text))


class Views:
    """Renders pages and fragments."""

    def __init__(self, settings: WidgetSettings, assets: Mapping[str, Asset]) -> None:
        self.settings = settings
        self.assets = assets
        self.env = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.env.globals["asset"] = lambda name: assets[name].address  # of the pages at the root
        self.env.globals["settings"] = settings
        self.env.globals["captcha"] = SERVICES.get(settings.captcha)
        self.env.filters["web_address"] = web_address
        self.env.filters["highlighting"] = highlighting
        self.env.filters["trail"] = citing.trail
        self.env.filters["target"] = lambda url: markdown.target(url, settings.origins)

    def index(self, script: str) -> str:
        """The page that shows the box and the script tag for embedding it."""
        return self._render("index.html", script=script, title=self.settings.title)

    def box(
        self,
        params: Mapping[str, str],
        *,
        article: str = "",
        question: str = "",
        problem: str = "",
        examples: Sequence[str] = (),
        root: str = "",
    ) -> str:
        """The page in the frame.

        `params` come from the address, or from the form of a browser without JavaScript, and are
        not trusted: page, title, placeholder, scheme, mode, accent, shortcut, examples, quote, ask
        (a question to ask at once), and the token, which the server adds. `examples` follow the
        page's own. `root` is the relative path from the page to the box, such as `../../` for
        `asks/ID/handoff`.
        """
        mode = params.get("mode", "")
        scheme = params.get("scheme", "")
        first_question = params.get("ask", "")[:MAX_QUESTION].strip()
        appearance = {name: params[name] for name in APPEARANCE if params.get(name)}
        language = current()
        shortcut = params.get("shortcut", "mod+k").lower()
        return self._render(
            "box.html",
            root,
            title=_label(params, "title") or self._title(),
            placeholder=_label(params, "placeholder") or language.words["placeholder"],
            page=web_address(params.get("page", "")),
            token=params.get("token", ""),
            mode=mode if mode in MODES else "page",
            scheme=scheme if scheme in SCHEMES else "",
            accent=accent(params.get("accent", "")),
            fresh=f"{root}box?{urlencode(appearance)}",
            # Do not ask it again if it is already answered.
            quote="" if article else params.get("quote", "")[:MAX_SELECTION].strip(),
            question=question or first_question,
            now=bool(first_question) and not question and not article,
            shortcut=shortcut if SHORTCUT.fullmatch(shortcut) else "",
            examples=[*_examples(params), *examples][:MAX_EXAMPLES],
            article=Markup(article),  # noqa: S704  # rendered by `article` below
            problem=language.sentence(problem),
            renewed="",
            spoken={key: language.words[key] for key in SPOKEN},
        )

    def article(self, ask: PendingQuestion, token: str) -> str:
        """A question, the placeholder for its answer, and the token of the next question."""
        return self._render("article.html", ask=ask, outcome="", token="", renewed=token)

    def finished(
        self,
        ask: PendingQuestion,
        state: End,
        token: str = "",
        root: str = "",
        ballot: Ballot | None = None,
    ) -> str:
        """A question with its answer, for a browser without JavaScript."""
        html = self.outcome(
            ask.id, state, ask=ask, token=token, root=root, ballot=ballot, live=False
        )
        outcome = Markup(html)  # noqa: S704  # rendered by a template
        return self._render("article.html", root, ask=ask, outcome=outcome, token=token, renewed="")

    def reading(self, reading: Reading) -> str:
        """A sentence about the pages that the model is reading."""
        return self._render("reading.html", pages=reading.reading)

    def growing(self) -> markdown.Growing:
        """Renders an answer that is being written."""
        return markdown.Growing(self.settings.origins)

    def answer(self, text: str, outcome: Outcome, anchor: str = "") -> Markup:
        """The answer as HTML. Relative links are resolved against its source page.

        Its numbers link to the sources, whose ids begin with `anchor`.
        """
        flaws = [claim for claim in outcome.flaws if claim.end <= len(text)]
        return markdown.render(
            text,
            origins=self.settings.origins,
            base=web_address(outcome.sources[0].url) if outcome.sources else "",
            cites=citing.numbers(text, outcome),
            mark=lambda number: _mark(number, f"{anchor}-{number}"),
            flaws=[(claim.start, claim.end) for claim in flaws],
            why=lambda number: _why(flaws[number]),
        )

    def outcome(
        self,
        id: str,
        state: End,
        *,
        ask: PendingQuestion | None = None,
        token: str = "",
        root: str = "",
        ballot: Ballot | None = None,
        live: bool = True,
        better: Sequence[str] = (),
    ) -> str:
        """The final content below the question.

        `ask`: missing if the question is no longer known; a refusal then offers no handoff.
        `better`: suggestions for a refused question. `live`: also update the status line of the
        open page.
        """
        if isinstance(state, Failed):
            return self._render(
                "failed.html",
                root,
                id=id,
                sentence=current().sentence(state.sentence),
                answer=self.answer(state.text, Outcome()),
                live=live,
            )
        return self._render(
            "done.html",
            root,
            **self._answered(id, state, ask.question if ask else "")
            | _vote(id, ballot or Ballot(), token),
            ask=ask,
            mail=self._mail(ask) if ask else "",
            stopped=state.stopped,
            live=live,
            better=better,
        )

    def shared(self, question: str, state: Done) -> str:
        """The page of a shared answer, one level below the box."""
        return self._render(
            "shared.html",
            "../",
            **self._answered("shared", state, question),
            ask=None,
            title=question[:MAX_LABEL],
            question=question,
            stopped=state.stopped,
            mode="page",
            scheme="",
            accent="",
            shortcut="",
        )

    def share(self, token: str) -> str:
        """The link to a shared answer, for the reader who shares it."""
        return self._render("share.html", address=f"shared/{token}")

    def vote(self, id: str, ballot: Ballot, token: str = "") -> str:
        """The vote buttons of an answer, and the vote given."""
        thanks = ballot.vote and not ballot.problem
        thanks_text = current().words["thanks"] if thanks else ""
        return self._render("vote.html", **_vote(id, ballot, token) | {"said": thanks_text})

    def handed_off(self, sentence: str) -> str:
        """Replaces the buttons: confirms the handoff, or says why it failed."""
        return self._render("handed_off.html", sentence=current().sentence(sentence))

    def problem(self, sentence: str, token: str = "") -> str:
        """Why a question was rejected, with a fresh token for the next attempt."""
        return self._render("problem.html", problem=current().sentence(sentence), renewed=token)

    def _answered(self, id: str, state: Done, question: str) -> dict[str, object]:
        outcome = state.outcome
        # Only for text clients; here a badge shows it.
        text = without_doubt(state.text) if outcome.caution else state.text
        quotations = [
            (number, source, self._quoted(part, source.url), self._quoted(source.rest, source.url))
            for number, source, part in citing.quotations(text, outcome)
        ]
        shown = {number for number, *_ in quotations}
        return {
            "id": id,
            "answer": "" if quotations else self.answer(text, outcome, f"source-{id}"),
            "outcome": outcome,
            "quotations": quotations,
            "sources": [
                (number, source, self._quoted(source.quote, source.url))
                for number, source in enumerate(outcome.sources, 1)
                if number not in shown
            ],
            "tip": _tip(question),
        }

    def _quoted(self, text: str, url: str) -> Markup:
        """Page text as HTML."""
        return _quoted(text[:MAX_QUOTE], url, tuple(self.settings.origins))

    def _mail(self, ask: PendingQuestion) -> str:
        """A mailto link that contains the question (RFC 6068)."""
        if not self.settings.handoff_mail:
            return ""
        text = f"{ask.question}\n\n{ask.page}".strip()
        subject = " ".join(ask.question.split())[:MAX_LABEL]
        fields = urlencode({"subject": subject, "body": text}, quote_via=quote)
        return f"mailto:{quote(self.settings.handoff_mail, safe='@')}?{fields}"

    def _title(self) -> str:
        is_default = self.settings.title == WidgetSettings.model_fields["title"].default
        return current().words["title"] if is_default else self.settings.title

    def _render(self, template: str, root: str = "", /, **values: object) -> str:
        language = current()
        return self.env.get_template(template).render(
            t=language.say,
            language=language,
            url=lambda path: f"{root}{path}{language.query}",
            file=lambda name: root + self.assets[name].address,
            **values,
        )


@lru_cache(maxsize=2048)  # many answers cite the same sections
def _quoted(quote: str, url: str, origins: tuple[str, ...]) -> Markup:
    return markdown.render(quote, origins=origins, base=web_address(url), images=True, page=True)


def _why(claim: Claim) -> Markup:
    """The problem with a sentence, shown in words after it."""
    language = current()
    why = language.say("contradicted" if claim.verdict == "contradicted" else "unsupported")
    fact = (claim.reason or "").partition(": ")[2][:MAX_LABEL]
    quoted = language.say("quoted_title", title=fact)
    return language.say("fact", why=why, fact=quoted) if fact else why


def _tip(question: str) -> str:
    """The key of a tip for asking better."""
    words = len(re.findall(r"\w+", question))
    is_spaced = question.isascii() or " " in question.strip()
    return "tip_short" if words < 3 and is_spaced else "tip_long" if words > 40 else "tip"


def _mark(number: str, id: str) -> Markup:
    name = current().say("source", number=number)
    return Markup('<a href="#{}" aria-label="{}">{}</a>').format(id, name, number)


def _label(params: Mapping[str, str], name: str) -> str:
    return params.get(name, "")[:MAX_LABEL].strip()


def _examples(params: Mapping[str, str]) -> Iterator[str]:
    """A page's questions, separated by bars; the server replaces `asked`."""
    for example in params.get("examples", "").split("|"):
        if example.strip() not in ("", "asked"):
            yield example.strip()[:MAX_LABEL]


def _vote(id: str, ballot: Ballot, token: str) -> dict[str, object]:
    return {
        "id": id,
        "ballot": ballot,
        "problem": current().sentence(ballot.problem),
        "known": REASONS,
        "said": "",
        "hidden": Markup('<input type="hidden" name="token" value="{}">').format(token)
        if token
        else "",
    }
