"""Which questions a run answers worse than an earlier one, for the CI of a wiki's repository.

JUnit's XML has a test for each question, and Markdown has both answers, for a comment on a pull
request.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple
from xml.etree import ElementTree

from eval.scoring.mark import Mark
from eval.scoring.measures import pairs, right

# Characters that XML 1.0 cannot contain.
_NOT_XML = re.compile(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")

_MARKUP = re.compile(r"([^\w\s])")


class Change(NamedTuple):
    """A question in both runs."""

    before: Mark
    now: Mark

    @property
    def reasons(self) -> list[str]:
        """Why it is answered worse now; empty if it is not."""
        before, now = self.before, self.now
        if before.answer.error:
            return []
        if now.answer.error:
            return [f"ends in an error: {now.answer.error}"]
        if not now.question.answerable:
            return ["answers what the wiki does not say"] if before.refused and now.answered else []
        if before.answered and now.refused:
            return ["is refused now"]
        reasons = []
        if right(before) and not right(now):
            reasons.append("was right")
        if before.grounded == 1 and now.grounded is not None and now.grounded < 1:
            reasons.append("has a claim that the pages do not support")
        if before.cites_right and now.answered and not now.cites_right:
            reasons.append("no longer cites a page that answers")
        return reasons


def compare(before: Sequence[Mark], now: Sequence[Mark]) -> list[Change]:
    """The questions that both runs asked."""
    return [Change(old, new) for new, old in pairs(now, before)]


def junit(system: str, changes: Sequence[Change]) -> str:
    """A test suite with a test for each question."""
    worse = [change for change in changes if change.reasons]
    suite = ElementTree.Element(
        "testsuite", name=system, tests=str(len(changes)), failures=str(len(worse))
    )
    for change in changes:
        test = ElementTree.SubElement(
            suite,
            "testcase",
            classname=system,
            name=_xml(change.now.question.text),
            time=f"{change.now.answer.total_s:.3f}",
        )
        if change.reasons:
            message = _xml("; ".join(change.reasons))
            failure = ElementTree.SubElement(test, "failure", message=message)
            failure.text = _xml(f"before:\n{_text(change.before)}\n\nnow:\n{_text(change.now)}")
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def markdown(system: str, changes: Sequence[Change]) -> str:
    """The questions that got worse, with both answers."""
    worse = [change for change in changes if change.reasons]
    lines = [f"## {system}: {len(worse):,} of {len(changes):,} questions are answered worse\n"]
    for change in worse:
        question = change.now.question
        title = " ".join(_MARKUP.sub(r"\\\1", question.text).split())
        lines += [
            f"### {title}\n",
            f"{'; '.join(change.reasons)}; pages: {', '.join(question.pages) or 'none'}\n",
            f"Before:\n\n{_fenced(_text(change.before))}\n",
            f"Now:\n\n{_fenced(_text(change.now))}\n",
        ]
    return "\n".join(lines)


def _text(mark: Mark) -> str:
    return mark.answer.text or mark.answer.error


def _fenced(text: str) -> str:
    """A code block that no answer can end."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def _xml(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
