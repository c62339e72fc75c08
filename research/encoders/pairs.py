"""Writes what a judge is trained on: sentences beside a passage that supports them, or does not.

    python -m research.encoders.pairs --docs FOLDER [--docs ...] --out PAIRS.jsonl [--most N]
    python -m research.encoders.pairs --written [--split NAME] --out PAIRS.jsonl
    python -m research.encoders.pairs --answers ANSWERS.jsonl --docs FOLDER --out PAIRS.jsonl
                                      [--split NAME]

The first form makes pairs from documentation (folders of HTML or Markdown) by the rules of
`research.encoders.rewrite`. The second takes the handwritten claims of `claims.jsonl`, the third
labelled answers in the format of `askdocs eval check`.

A line is a group of claims: text, passage, whether the passage supports it, and, except in the
first form, the rules' score. A group of the first form has a right sentence and its wrong twin; of
the second, the claims about a passage; of the third, the sentences of all answers to a question.
"""

import argparse
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

from core.errors import AskdocsError
from eval.scoring.check import BAD, LabelledAnswer, LabelledPages, read
from eval.scoring.groundedness import Rarity
from gateway.answering.claims import drafts, score_of
from gateway.answering.evidence import Evidence, Window
from gateway.answering.features import see
from gateway.answering.grounding.excerpt import Excerpt
from gateway.answering.plain import plain as plainly
from research.encoders import rewrite
from research.studies.check import labelled
from wiki.pages.page import Page
from wiki.sources.markdown import parse
from wiki.sources.open import open_source
from wiki.sources.source import Changed

CLAIMS = Path(__file__).with_name("claims.jsonl")
# Maximum characters of a page, and sentences of it used for pairs.
LONGEST = 30_000
SENTENCES = 30
FEWEST, MOST = 6, 34  # words
# Shares of groups whose wrong sentence is from another page, or has a second part from there.
ELSEWHERE, ADDED = 0.08, 0.08
JOINED = 0.15
# Minimum overlap with a passage that makes another page's sentence a near-miss.
NEAR = (0.3, 0.85)
_MARKER = re.compile(r"^(?:[-*+•]|\d{1,3}[.)]) ")
_TELLING = re.compile(
    r"\b(?:not|no|never|only|unless|if|when|always|all|some|may|must|default|before|after|then|by"
    r"|without|because|except|most|can|cannot|from)\b"
)
_CODE = re.compile(r"[{}<>;=|\\$]|::|\.\.\.|http")
plain = lru_cache(50_000)(plainly)  # of windows, which are encoded again for each sentence
_OTHERS = 0.5  # share of the sentences without such a word


def of_docs(folder: Path, chance: Random) -> Iterator[dict[str, Any]]:
    """The groups of a documentation. Raises AskdocsError."""
    source = open_source(str(folder), None, "http://wiki/")
    pages = [change.page for change in source.read({}) if isinstance(change, Changed)]
    pages = [page for page in pages if len(page.text) <= LONGEST]
    idf = Rarity(page.text for page in pages)
    sentences_of = {page.path: _sentences(page) for page in pages}
    for page in pages:
        if len(sentences_of[page.path]) < 4:
            continue
        evidence = Evidence([Excerpt(page, page.sections, 0)], idf)
        others = [other for other in pages if other is not page and sentences_of[other.path]]
        foreign_texts = [
            chance.choice(sentences_of[chance.choice(others).path])
            for _ in range(40 if others else 0)
        ]
        own = sentences_of[page.path]
        for sentence in chance.sample(own, min(SENTENCES, len(own))):
            if not _TELLING.search(sentence) and chance.random() > _OTHERS:
                continue
            group = _group(sentence, own, foreign_texts, evidence, chance)
            if group:
                yield {"docs": folder.name, **group}


def _group(
    sentence: str,
    own: Sequence[str],
    foreign_texts: Sequence[str],
    evidence: Evidence,
    chance: Random,
) -> dict[str, Any] | None:
    window = _window(sentence, evidence, chance)
    if window is None:
        return None
    right = rewrite.alike(sentence, chance)
    way = chance.random()
    if way < ELSEWHERE and foreign_texts:
        return _elsewhere(right, foreign_texts, window, evidence)
    if way < ELSEWHERE + ADDED and foreign_texts:
        near = [text for text in own if text != sentence and text in plain(window.text.text)]
        if near:
            wrong = _join(right, chance.choice(foreign_texts), chance)
            return _twins(
                "addition", _join(right, chance.choice(near), chance), wrong, window, evidence
            )
    page = [text for text in own if text != sentence]
    if chance.random() < JOINED:
        second = chance.choice(page)
        if _window(second, evidence, chance):
            kind, other = rewrite.wrong(second, page, chance)
            if kind:
                right, wrong = (_join(right, end, Random(0)) for end in (second, other))  # noqa: S311
                return _twins(kind, right, wrong, window, evidence)
    kind, wrong = rewrite.wrong(right, page, chance)
    if not kind or wrong in plain(window.text.text):
        return None
    return _twins(kind, right, wrong, window, evidence)


def _twins(kind: str, right: str, wrong: str, window: Window, evidence: Evidence) -> dict[str, Any]:
    passage = evidence.passage(evidence.stems_of(right), window)
    claims = [
        {"text": text, "passage": passage, "supported": supported}
        for text, supported in ((right, True), (wrong, False))
    ]
    return {"kind": kind, "claims": claims}


def _elsewhere(
    right: str, foreign_texts: Sequence[str], window: Window, evidence: Evidence
) -> dict[str, Any] | None:
    for text in foreign_texts:
        shares = evidence.shares(evidence.stems_of(text))
        if NEAR[0] <= shares.max() <= NEAR[1]:
            group = _twins("elsewhere", right, text, window, evidence)
            best = evidence.windows[int(shares.argmax())]
            group["claims"][1]["passage"] = evidence.passage(evidence.stems_of(text), best)
            return group
    return None


def _join(first: str, second: str, chance: Random) -> str:
    word = chance.choice((", and ", "; ", ". ", " and "))
    second = second if word == ". " else second[:1].lower() + second[1:]
    return first.rstrip(".") + word + second


def _window(sentence: str, evidence: Evidence, chance: Random) -> Window | None:
    """A window that contains the sentence, wide or narrow."""
    having = [window for window in evidence.windows if sentence in plain(window.text.text)]
    if not having:
        return None
    width = chance.choice((1, 1, 2, 3, 3))
    return chance.choice([window for window in having if window.width == width] or having)


def _sentences(page: Page) -> list[str]:
    """The sentences of a page that make a claim."""
    texts = []
    for section in page.sections:
        for draft in drafts(section.body):
            text = _MARKER.sub("", plain(draft.text))
            is_prose = draft.claims and draft.sentence.kind in ("prose", "item")
            if (
                is_prose
                and FEWEST <= len(text.split()) <= MOST
                and text.endswith(".")
                and text[:1].isupper()
                and not _CODE.search(text)
            ):
                texts.append(text)
    return list(dict.fromkeys(texts))


def of_answers(answers: Sequence[LabelledAnswer], wiki: LabelledPages) -> Iterator[dict[str, Any]]:
    """The groups of labelled answers, one per question. Raises AskdocsError."""
    groups: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    kinds: dict[str, set[str]] = defaultdict(set)
    for answer, draft, label, evidence in labelled(answers, wiki):
        if not evidence.windows:
            continue
        supported = label not in BAD
        if not supported:
            kinds[answer.row].add(answer.kind.removeprefix("wrong:"))
        groups[answer.row][plain(draft.text)] = _claim(draft.text, supported, evidence)
    for row, claims in groups.items():
        kind = ", ".join(sorted(kinds[row])) or "good"
        yield {"docs": "answers", "kind": kind, "claims": list(claims.values())}


def of_claims(file: Path, split: str | None) -> Iterator[dict[str, Any]]:
    """The groups of `claims.jsonl`, one for each kind of mistake with a passage."""
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    idf = Rarity(row["passage"] for row in rows)
    for row in rows:
        if split not in (None, row["split"]):
            continue
        page = parse("page.md", f"# {row['from'].partition(', ')[2]}\n\n{row['passage']}", "")
        evidence = Evidence([Excerpt(page, page.sections, 0)], idf)
        kinds: dict[str, list[dict[str, Any]]] = defaultdict(list)
        right = [_claim(text, True, evidence) for text in row["right"]]
        for kind, text in row["wrong"]:
            kinds[kind].append(_claim(text, False, evidence))
        for kind, wrong in kinds.items():
            yield {"docs": row["from"], "kind": kind, "claims": [*right, *wrong]}


def _claim(text: str, supported: bool, evidence: Evidence) -> dict[str, Any]:
    seen = see(text, evidence)
    assert seen.window is not None
    passage = evidence.passage(seen.stems, seen.window)
    rules = score_of(seen)
    return {"text": plain(text), "passage": passage, "supported": supported, "rules": rules}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--docs", type=Path, action="append", default=[], metavar="FOLDER")
    parser.add_argument("--written", action="store_true", help="the claims of claims.jsonl")
    parser.add_argument("--answers", type=Path, metavar="FILE", help="labelled answers")
    parser.add_argument("--split", help="of the claims or labelled answers")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--most", type=int, default=10_000, help="groups of a documentation")
    options = parser.parse_args()
    if len(options.docs) != 1 if options.answers else not (options.docs or options.written):
        parser.error("name --docs FOLDER, one beside --answers, or --written")
    chance = Random(1)  # noqa: S311 -- no secret
    try:
        if options.written:
            groups = list(of_claims(CLAIMS, options.split))
        elif options.answers:
            answers = read(options.answers, options.split)
            groups = list(of_answers(answers, LabelledPages(options.docs[0])))
        else:
            groups = []
            for folder in options.docs:
                made = list(of_docs(folder, chance))
                groups += chance.sample(made, min(len(made), options.most))
                print(f"{folder}: {len(made):,} groups", flush=True)
            chance.shuffle(groups)
    except (AskdocsError, OSError) as error:
        sys.exit(f"pairs: {error}")
    lines = (json.dumps(group, ensure_ascii=False) + "\n" for group in groups)
    options.out.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
