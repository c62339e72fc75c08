"""Slack messages and the feedback dialog, in Block Kit.

https://docs.slack.dev/reference/block-kit. Text from a model, a page or a person is literal (in
rich text or plain text), or escaped.
"""

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from widget.access.origins import web_address
from widget.service.outcome import Outcome, Page, Reading, Source
from widget.service.store import REASONS
from widget.slack.richtext import Element, block, link, literal, rich_text, section
from widget.text.citing import trail
from widget.text.markdown import with_marks
from widget.text.mrkdwn import escaped

UP, DOWN, HUMAN, RETRY, OPEN = "up", "down", "human", "retry", "open"
DIALOG = "reasons"
MAX_TEXT = 3_000  # characters for notifications and screen readers
MAX_LABEL = 75  # characters of a button
MAX_CARRIED = 900  # characters of a question in a button, whose value is limited to 2,000
MAX_SOURCES = 5
MAX_NOTE = 1_900  # characters of the small print below an answer
MAX_COMMENT = 2_000

LOOKING = "Looking into the docs …"
NOT_IN_THE_DOCS = "Not in the docs"
CLOSEST = "These pages do not answer that. The closest ones are:"
NONE_CLOSE = "These pages do not answer that, and no page comes close."

_LABELS = {
    "wrong": "The answer is wrong",
    "incomplete": "Something is missing",
    "outdated": "It is out of date",
    "off-topic": "It answers something else",
    "unclear": "It is hard to understand",
}
_REFERENCE = re.compile(r"<([@#!]?)([^<>|]*)(?:\|([^<>]*))?>")


class Message(NamedTuple):
    """A message: its blocks, and the text for clients without blocks."""

    text: str
    blocks: list[Element]


def typed(text: str, bot: str) -> str:
    """The text that somebody typed, for a model: without mentions of the bot, links as their
    text."""

    def plain(match: re.Match[str]) -> str:
        kind, target, label = match[1], match[2], match[3]
        if kind == "@" and target == bot:
            return ""
        if kind == "!":
            return label or f"@{target.partition('^')[0]}"
        if kind:
            return f"{kind}{label or target}"
        target = target.removeprefix("mailto:")
        return f"{label} ({target})" if label and label not in target else target

    text = _REFERENCE.sub(plain, text)
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").strip()


def looking() -> Message:
    """Shown before anything is known."""
    return Message(LOOKING, [_note(LOOKING)])


def reading(reading: Reading) -> Message:
    """The pages that the model reads."""
    titles = " and ".join(page.title or "a page" for page in reading.reading) or "the question"
    about = f", about {max(1, round(reading.seconds))} s" if reading.seconds else ""
    text = f"Reading {titles[:1_000]}{about} …"
    return Message(escaped(text), [_note(text)])


def partial(text: str) -> Message:
    """The answer so far."""
    return Message(_fallback(text), [block(text), _note("… still writing")])


def done(id: str, question: str, text: str, outcome: Outcome, human: bool) -> Message:
    """The whole answer with its sources, or a refusal."""
    if outcome.refused:
        closest = CLOSEST if outcome.pages else NONE_CLOSE
        text = f"{NOT_IN_THE_DOCS}. {closest}"
        blocks = [
            rich_text(section(literal(NOT_IN_THE_DOCS, bold=True), literal(f"\n{closest}"))),
            *_links(outcome.pages),
        ]
    else:
        cited = list(dict.fromkeys(source.url for source in outcome.sources))
        cites = [
            (citation.end_index, cited.index(citation.url) + 1)
            for citation in outcome.citations
            if citation.url in cited and 0 < citation.end_index <= len(text)
        ]
        base = web_address(cited[0]) if cited else ""
        blocks = [
            block(with_marks(text, cites), base, cited),
            *_links(outcome.sources, numbered=bool(cites)),
        ]
    if outcome.is_quotation:
        blocks.append(_note("Quoted from the docs"))
    elif outcome.model and not outcome.refused:
        blocks.append(_note(f"Answered by {outcome.model}"))
    flawed = [text[claim.start : claim.end].strip() for claim in outcome.flaws]
    if flawed and not outcome.refused:  # Slack has no underline
        flawed_text = " ".join(f"“{sentence}”" for sentence in flawed)
        blocks.append(_note(f"⚠️ Not supported by the docs: {flawed_text}"[:MAX_NOTE]))
    buttons = [
        _button(UP, "👍", value=id, accessibility_label="This helped"),
        _button(DOWN, "👎", value=id, accessibility_label="This did not help"),
    ]
    if human:
        buttons.append(_button(HUMAN, "Ask a human", value=carried(id, question)))
    return Message(_fallback(text), [*blocks, {"type": "actions", "elements": buttons}])


def failed(id: str, question: str, sentence: str, text: str = "") -> Message:
    """Why there is no answer, with the part that arrived, and a retry button."""
    again = _button(RETRY, "Try again", value=carried(id, question))
    blocks = [block(text)] if text.strip() else []
    blocks += [rich_text(section(literal(sentence)))]
    return Message(escaped(sentence), [*blocks, {"type": "actions", "elements": [again]}])


def bare(message: Message) -> Message:
    """The message reduced to its text, if Slack rejects its blocks."""
    return Message(message.text, [])


def text_line(*elements: Element, text: str) -> Message:
    """A line of running text."""
    return Message(escaped(text), [rich_text(section(*elements))])


def repeated(question: str) -> Message:
    """The question of a /ask above its answer, since Slack does not show it."""
    return Message(
        _fallback(question), [rich_text(section(literal("You asked:")), _quoted(question))]
    )


def handed(user: str, question: str, thread: str) -> Message:
    """A question for the humans' channel; `thread` is its thread's permalink."""
    way = (
        link(thread, "Answer in the thread")
        if thread
        else literal("It was asked in a direct message: please answer there.")
    )
    return Message(
        _fallback(f"Can you help? {question}"),
        [
            rich_text(
                section(_person(user), literal(" asks, and the docs are not enough:")),
                _quoted(question),
                section(literal("\n"), way),
            )
        ],
    )


def called(user: str, group: str) -> Message:
    """Calls a user group into the thread."""
    text = " can you help? The docs are not enough for "
    group_itself = {"type": "usergroup", "usergroup_id": group}
    return text_line(group_itself, literal(text), _person(user), literal("."), text=text)


def dialog(id: str) -> dict[str, Any]:
    """The dialog that asks what was wrong with an answer."""
    options = [{"text": _plain(_LABELS[reason]), "value": reason} for reason in REASONS]
    return {
        "type": "modal",
        "callback_id": DIALOG,
        "private_metadata": id,
        "title": _plain("What was wrong?"),
        "submit": _plain("Send"),
        "close": _plain("Skip"),
        "blocks": [
            {
                "type": "input",
                "block_id": "reasons",
                "optional": True,
                "label": _plain("The answer"),
                "element": {"type": "checkboxes", "action_id": "reasons", "options": options},
            },
            {
                "type": "input",
                "block_id": "text",
                "optional": True,
                "label": _plain("What should it have said?"),
                "element": {
                    "type": "plain_text_input",
                    "action_id": "text",
                    "multiline": True,
                    "max_length": MAX_COMMENT,
                },
            },
        ],
    }


def carried(id: str, question: str) -> str:
    """The value of a button. Buttons outlive this process, so it contains everything needed."""
    return json.dumps({"id": id, "question": question[:MAX_CARRIED]}, ensure_ascii=False)


def _links(pages: Sequence[Page], numbered: bool = False) -> list[Element]:
    """Buttons that open the pages; `numbered` like the citations in the text."""
    buttons = []
    different = {page.url: page for page in reversed(pages)}
    for number, url in enumerate(dict.fromkeys(page.url for page in pages), 1):
        page = different[url]
        title = trail(page.title or url, page.section if isinstance(page, Source) else "") or url
        if url := web_address(url):
            label = f"{number}  {title}" if numbered else title
            buttons.append(_button(f"{OPEN}-{number}", label, url=url))
    shown = buttons[:MAX_SOURCES]
    return [{"type": "actions", "elements": shown}] if shown else []


def _button(action: str, label: str, **what: str) -> Element:
    label = label if len(label) <= MAX_LABEL else label[: MAX_LABEL - 1] + "…"
    return {"type": "button", "action_id": action, "text": _plain(label), **what}


def _plain(text: str) -> Element:
    return {"type": "plain_text", "text": text, "emoji": False}


def _note(text: str) -> Element:
    return {"type": "context", "elements": [_plain(text)]}


def _person(user: str) -> Element:
    return {"type": "user", "user_id": user}


def _quoted(text: str) -> Element:
    return {"type": "rich_text_quote", "elements": [literal(text)]}


def _fallback(text: str) -> str:
    return escaped(text[:MAX_TEXT])
