"""A made-up wiki of which everything is known: a page for each pump, who cleans it, how often."""

import itertools
import json
from pathlib import Path
from typing import Any, NamedTuple

_BIRDS = ("Kestrel", "Heron", "Plover", "Osprey", "Wren", "Bittern")
_PLACES = ("cellar", "harbour", "orchard", "quarry", "tower")
_CREWS = ("night shift", "apprentices", "harbour master", "canteen staff")
_ELSEWHERE = ("volcano", "theatre")
EVERYWHERE = "Skilled workers built it from local parts."
"""On every page. It answers no question, and has no word in common with an answer."""


class Fact(NamedTuple):
    """A question with its answer; one that no page answers has neither page nor answer."""

    question: str
    answer: str
    page: str | None
    is_about: bool = True
    """Is it about the wiki's subject, so that pages are found for it?"""


def facts() -> list[Fact]:
    """30 that the wiki answers and 24 that it does not: 12 about its subject and 12 about none."""
    found = []
    for number, (bird, place) in enumerate(itertools.product(_BIRDS, _PLACES)):
        name, crew = f"{bird} pump in the {place}", _CREWS[number % len(_CREWS)]
        answer = f"The {name} is cleaned every {number + 3} weeks by the {crew}."
        found.append(
            Fact(f"How often is the {name} cleaned?", answer, f"{bird}-{place}.md".lower())
        )
    for bird, place in itertools.product(_BIRDS, _PLACES[:2]):
        found.append(Fact(f"Who painted the {bird} pump in the {place}?", "", None))
    for bird, place in itertools.product(_BIRDS, _ELSEWHERE):
        asked = f"Who won the {bird} chess prize at the {place} festival?"
        found.append(Fact(asked, "", None, is_about=False))
    return found


def write(folder: Path) -> tuple[Path, Path]:
    """Folder of the wiki, and file of its questions; all of them are for the test."""
    docs, file = folder / "wiki", folder / "questions.jsonl"
    docs.mkdir()
    rows: list[dict[str, Any]] = []
    for number, fact in enumerate(facts()):
        row = {"id": f"q{number}", "question": fact.question, "answer": fact.answer}
        rows.append({**row, "answerable": fact.page is not None, "split": "test"})
        if fact.page:
            rows[-1]["context_doc"] = fact.page
            title = fact.answer.removeprefix("The ").partition(" is cleaned")[0]
            (docs / fact.page).write_text(
                f"# {title}\n\n{EVERYWHERE}\n\n"
                f"## Cleaning\n\n{fact.answer}\n\n## Noise\n\nIt hums at {number + 200} hertz.\n"
            )
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return docs, file
