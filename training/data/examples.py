"""Turns a row into an example: the prompt that the gateway would send, and the answer."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from random import Random
from typing import Any

from eval.questions.rows import Row
from gateway.answering.grounding.excerpt import Excerpt, spoken
from gateway.answering.grounding.ground import ALONE, Grounding
from gateway.answering.grounding.neutral import neutral
from gateway.answering.grounding.prompt import REFUSAL, Message, instructed, render
from gateway.answering.grounding.sentences import units
from training.data.distractors import Distractors
from training.data.support import Support, cite, claims, quote, support, uncited
from wiki.pages.page import Page
from wiki.sources.markdown import parse

GROUNDED = "grounded"
UNANSWERABLE = "refusal-unanswerable"
REMOVED = "refusal-gold-removed"
CLOSED = "closed-book"
PARTIAL = "partial"
KINDS = (GROUNDED, PARTIAL, UNANSWERABLE, REMOVED, CLOSED)
# What follows the supported sentences of an answer of which the pages lack a part.
GAP = "The pages do not say the rest."

Count = Callable[[Sequence[str]], list[int]]
# Maximum pages in a prompt; each count is equally likely. A budget below ALONE allows one.
PAGES = 3
# Sentences at the beginning of a page, which a lazy reader would give as the answer.
OPENING = 2
# File name of a row's own text, the title that this name would give it, and the maximum length of
# the title taken from its first line instead.
OWN, UNNAMED = "own.md", "Own"
TITLE = 60


@dataclass(frozen=True)
class Example:
    """A prompt and its answer."""

    row: Row
    kind: str
    """One of KINDS."""
    prompt: list[Message]
    answer: str
    pages: tuple[str, ...] = ()
    """Paths of the pages in the prompt, in order; the empty path for the row's own text."""
    position: int | None = None
    """Position of the best gold page in the prompt, from 1."""
    golds: tuple[str, ...] = ()
    """Paths of all gold pages, the best first."""
    is_whole: bool = True
    """Are the gold pages uncut? (The gateway cuts pages that do not fit, too.)"""
    support: Support | None = None
    """Do the pages support the answer? None without pages."""
    is_limited: bool = False
    """Did the wiki have too few pages to allow every position?"""
    openings: tuple[str, ...] = ()
    """The first sentences of each page."""
    tokens: int = 0
    """Prompt tokens, without those of the chat template."""
    answer_tokens: int = 0

    def record(self) -> dict[str, Any]:
        """The example in the format of TRL's SFTTrainer, with its provenance."""
        return {
            "prompt": self.prompt,
            "completion": [{"role": "assistant", "content": self.answer}],
            "meta": {
                "line": self.row.line,
                "kind": self.kind,
                "gold": self.golds[0] if self.golds else None,
                "golds": list(self.golds),
                "position": self.position,
                "support": self.support,
                "pages": list(self.pages),
                "tokens": self.tokens,
                "answer_tokens": self.answer_tokens,
            },
        }


class Examples:
    """Makes the examples of one split."""

    def __init__(
        self,
        grounding: Grounding,
        runner: asyncio.Runner,
        pages: Mapping[str, Page],
        distractors: Distractors,
        count: Count,
        budget: int,
        random: Random,
        instructions: str,
        quotes: bool,
    ) -> None:
        """
        Args:
            grounding: the gateway's.
            runner: runs its coroutines.
            pages: the whole wiki, by path.
            distractors: the split's.
            count: counts the tokens of texts.
            budget: token budget for pages in a prompt.
            random: source of randomness.
            instructions: the alias's, see `prompt.render`.
            quotes: begin answers with quotations of their supporting sentences.
        """
        self._grounding = grounding
        self._runner = runner
        self._pages = pages
        self._distractors = distractors
        self._count = count
        self._budget = budget
        self._random = random
        self._instructions = instructions
        self._quotes = quotes

    def grounded(self, row: Row) -> Example | None:
        """An example with the gold pages and distractors.

        It has fewer pages than drawn if they exceed the budget. None: the gold pages, cut to fit,
        no longer hold the answer.
        """
        candidates, golds = self._found(row), self._golds(row)
        for count in range(max(self._drawn(), len(golds)), 0, -1):
            pages, place, is_limited = self._distractors.around(
                row, golds[:count], candidates, count
            )
            excerpts = self._fit(pages, candidates, row.question)
            if len(excerpts) == len(pages) and self._holds(row, golds, excerpts):
                break
        else:
            return None
        self._distractors.take(len(pages), place)
        answer, support = self._target(row, excerpts)
        paths = [page.path for page in golds[:count]]
        return self._example(
            row,
            GROUNDED,
            excerpts,
            answer,
            position=place + 1,
            golds=tuple(paths),
            is_whole=all(part.is_whole for part in excerpts if part.page.path in paths),
            is_limited=is_limited,
            support=support,
        )

    def _holds(self, row: Row, golds: Sequence[Page], excerpts: Sequence[Excerpt]) -> bool:
        """Do the gold pages still hold the answer after they were cut to fit?"""
        gold_excerpts = [part for part in excerpts if part.page in golds]
        if len(gold_excerpts) == len(golds) and all(part.is_whole for part in gold_excerpts):
            return True
        return self._distractors.support(row, gold_excerpts) >= self._distractors.held(row, golds)

    def _target(self, row: Row, excerpts: Sequence[Excerpt]) -> tuple[str, Support]:
        """The row's answer in the form that the prompt asks for, and whether the pages support
        it."""
        answer, idf = uncited(row.answer.strip()), self._grounding.index.idf
        checked = claims(self._runner, answer, excerpts, idf, row.question)
        quotes = [*quote(answer, checked, excerpts, idf)] if self._quotes else []
        return "\n\n".join([*quotes, cite(answer, checked, excerpts)]), support(checked)

    def removed(self, row: Row) -> Example | None:
        """An example without gold pages; None if every search result may hold the answer."""
        candidates = self._found(row)
        pages = self._distractors.without(row, self._golds(row), candidates, self._drawn())
        if not pages:
            return None
        pages.sort(key=lambda page: page.path)
        return self._example(row, REMOVED, self._fit(pages, candidates, row.question), REFUSAL)

    def unanswerable(self, row: Row) -> Example:
        """An unanswerable example: the row's own page or text, if any, and search results."""
        candidates = self._found(row)
        own = self._golds(row) if is_about_something(row) else []
        count = max(0, self._drawn() - len(own))
        others = islice(self._distractors.beside(row, candidates), count)
        pages = sorted([*own, *others], key=lambda page: page.path)
        if pages and not pages[0].path:  # the row's own text can take any position
            pages.insert(self._random.randrange(len(pages)), pages.pop(0))
        return self._example(row, UNANSWERABLE, self._fit(pages, candidates, row.question), REFUSAL)

    def as_served(self, row: Row) -> Example | None:
        """An example with the pages that the gateway finds and packs for the question.

        What arrived decides its kind: the answer, or its supported sentences, or a refusal. None:
        the gateway finds nothing, and refuses without a model.
        """
        grounds = self._runner.run(self._grounding.ground(row.question, self._budget))
        excerpts = list(grounds.excerpts)
        if not excerpts:
            return None
        paths = [part.page.path for part in excerpts]
        golds = tuple(path for path in row.pages if path in paths)
        if not row.answerable:
            return self._example(row, UNANSWERABLE, excerpts, REFUSAL)
        answer, idf = uncited(row.answer.strip()), self._grounding.index.idf
        checked = claims(self._runner, answer, excerpts, idf, row.question)
        marked = [claim for claim in checked if claim.verdict not in ("supported", "none")]
        kept = answer
        for claim in reversed(marked):
            kept = kept[: claim.start] + kept[claim.end :]
        has_support = any(claim.verdict == "supported" for claim in checked)
        if not has_support and (marked or not golds):
            return self._example(row, REMOVED, excerpts, REFUSAL)
        target, supported = self._target(replace(row, answer=kept), excerpts)
        return self._example(
            row,
            PARTIAL if marked else GROUNDED,
            excerpts,
            f"{target.strip()}\n\n{GAP}" if marked else target,
            position=paths.index(golds[0]) + 1 if golds else None,
            golds=golds,
            is_whole=all(part.is_whole for part in excerpts if part.page.path in golds),
            support=supported,
        )

    def closed_book(self, row: Row) -> Example:
        """The question alone, as sent by a client that disables grounding."""
        question = [{"role": "user", "content": neutral(row.question)}]
        prompt = instructed(question, self._instructions)
        return self._counted(Example(row, CLOSED, prompt, _answer(row.answer)))

    def _found(self, row: Row) -> list[Page]:
        """Search results for the question, best first, preceded by the row's own text."""
        candidates = self._distractors.candidates(row)
        return candidates if row.pages or not row.context else [*self._golds(row), *candidates]

    def _example(
        self, row: Row, kind: str, excerpts: list[Excerpt], answer: str, **more: Any
    ) -> Example:
        example = Example(
            row,
            kind,
            render(excerpts, row.question, instructions=self._instructions),
            _answer(answer),
            pages=tuple(part.page.path for part in excerpts),
            openings=tuple(map(opening, excerpts)),
            **more,
        )
        return self._counted(example)

    def _counted(self, example: Example) -> Example:
        *prompt, answer = self._count([*(m["content"] for m in example.prompt), example.answer])
        return replace(example, tokens=sum(prompt), answer_tokens=answer)

    def _fit(
        self, order: Sequence[Page], candidates: Sequence[Page], question: str
    ) -> list[Excerpt]:
        """Cut the pages to the budget, as in serving.

        The budget goes to pages by search rank; pages that the search did not find come last. Pages
        that no longer fit are dropped.
        """
        rank = {page.path: place for place, page in enumerate(candidates)}
        pages = sorted(order, key=lambda page: rank.get(page.path, len(rank)))
        fitted = self._runner.run(self._grounding.fit(pages, self._budget, question))
        return sorted(fitted, key=lambda part: order.index(part.page))

    def _drawn(self) -> int:
        return self._random.randint(1, 1 if self._budget < ALONE else PAGES)

    def _golds(self, row: Row) -> list[Page]:
        """The gold pages, the best first."""
        return [self._pages[path] for path in row.pages] or [own_page(row.context)]


def is_about_something(row: Row) -> bool:
    """Does the row name a page or include a text?"""
    return bool(row.pages or row.context)


@lru_cache(maxsize=1000)
def own_page(text: str) -> Page:
    """The row's own text as a page, with a title that looks like one from the wiki."""
    page = parse(OWN, text, "http://wiki/")
    if page.title == UNNAMED:
        line = " ".join(text.strip().split("\n", 1)[0].split())
        heads = [section.heading for section in page.sections if section.heading]
        short = line if len(line) <= TITLE else line[:TITLE].rpartition(" ")[0] or line[:TITLE]
        page = replace(page, title=next(iter(heads), short))
    return replace(page, path="")


def opening(part: Excerpt) -> str:
    """The first sentences of the first section that has any."""
    texts = (spoken(section) for section in part.sections)
    first = next(filter(None, texts), "")
    return " ".join(unit.text for unit in units(first)[:OPENING])


def _answer(text: str) -> str:
    """The answer as a model must write it; `gateway.answering.grounding.neutral.restored` gives the
    readers' form."""
    return neutral(text.strip())
