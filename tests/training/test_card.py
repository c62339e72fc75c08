"""What is said about a built dataset."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from gateway.answering.grounding.prompt import fingerprint
from tests.training import small
from training.data import build
from training.data.build import Built
from training.data.card import card, markdown
from training.data.lengths import draw
from training.data.shortcut import openings, shortcuts
from training.data.tokens import Tokens


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("small")


@pytest.fixture(scope="module")
def built(folder: Path) -> Built:
    """Of answers that are the beginnings of their pages."""
    rows = small.questions()[::2]
    for row in rows:
        if "context_doc" in row:
            row["answer"] = f"Service the {Path(row['context_doc']).stem} yourself."
    return small.built(folder, rows)


def test_the_card_counts_what_the_files_have(tmp_path: Path, folder: Path, built: Built) -> None:
    written = build.write(built, tmp_path)
    facts = card(built, folder / "qa_pairs.jsonl", "wiki", Tokens(folder / "tokenizer.json"))
    for name, part in facts["splits"].items():
        lines = (tmp_path / f"{name}.jsonl").read_text().splitlines()
        rows = [json.loads(line)["meta"] for line in lines]
        assert part["examples"] == len(rows)
        assert sum(part["kinds"].values()) == len(rows)
        placed = [f"{row['position']} of {len(row['pages'])}" for row in rows if row["position"]]
        assert part["positions"] == {place: placed.count(place) for place in set(placed)}
    digest = hashlib.sha256((tmp_path / "train.jsonl").read_bytes()).hexdigest()
    assert written["train.jsonl"] == digest
    facts["sha256"]["outputs"] = written
    text = markdown(facts)
    assert f"| train.jsonl | {digest} |" in text
    assert f"| all | {facts['splits']['train']['examples']} |" in text
    assert set(facts["sha256"]["pages"]) <= set(built.pages)


def test_the_card_tells_the_instructions_and_their_fingerprint(folder: Path, built: Built) -> None:
    told = "You answer for the workshop.\nName the tool | first."
    one = replace(built, options=replace(built.options, instructions=told))
    facts = card(one, folder / "qa_pairs.jsonl", "wiki", Tokens(folder / "tokenizer.json"))
    assert facts["prompt_fingerprint"] == fingerprint(told) != fingerprint()
    assert facts["options"]["instructions"] == told
    facts["sha256"]["outputs"] = {}
    assert "\n    Name the tool | first.\n" in markdown(facts)


def test_left_out_and_used_rows_are_all_rows(built: Built, folder: Path) -> None:
    facts = card(built, folder / "qa_pairs.jsonl", "wiki", Tokens(folder / "tokenizer.json"))
    used = {example.row.line for examples in built.parts.values() for example in examples}
    assert len(used) + sum(facts["left_out"].values()) == len(small.questions()[::2])


def test_the_card_tells_the_share_of_answers_that_their_pages_support(tmp_path: Path) -> None:
    rows = small.questions()[::6]
    answerable = [row for row in rows if "context_doc" in row]
    for row in answerable[::2]:
        row["answer"] = "Ask Mr Smith in hall 99 for the golden hammer."
    made = small.built(tmp_path, rows)
    facts = card(made, tmp_path / "qa_pairs.jsonl", "wiki", Tokens(tmp_path / "tokenizer.json"))
    counted = [part["support"] for part in facts["splits"].values()]
    assert sum(one["unsupported"] for one in counted) == len(answerable[::2])
    assert sum(one["supported"] for one in counted) == len(answerable) - len(answerable[::2])
    facts["sha256"]["outputs"] = {}
    share = f"{facts['splits']['train']['supported']:.1%}"
    assert f"| answer is supported by its pages | {share} |" in markdown(facts)


def test_the_first_page_is_no_better_than_any(built: Built) -> None:
    found = shortcuts(built.parts["train"])["all"]
    assert found.examples > 30
    assert abs(found.first - found.any) < 3 * found.error + 1e-9


def test_a_dataset_that_puts_the_answer_first_is_found_out(built: Built) -> None:
    first = [example for example in built.parts["train"] if example.position == 1]
    found = shortcuts(first)["all"]
    assert found.first == found.gold
    assert found.first > found.any + 3 * found.error


def test_the_card_says_when_one_word_would_be_always_right_enough_to_be_said(
    folder: Path, built: Built
) -> None:
    # All answers of the fixture begin with one word, so that a refusal is not what is likeliest.
    alike = openings(built.parts["train"])
    assert alike.word == "Service"
    assert alike.answer + alike.refusal == pytest.approx(1, abs=1e-3)
    assert not alike.refuses_always

    other = [
        replace(one, answer=f"{number} {one.answer}") if one.position else one
        for number, one in enumerate(built.parts["train"])
    ]
    unlike = openings(other)
    assert unlike.refusal == alike.refusal > unlike.answer == round(1 / len(other), 4)
    assert unlike.refuses_always
    facts = card(
        replace(built, parts={**built.parts, "train": other}),
        folder / "qa_pairs.jsonl",
        "wiki",
        Tokens(folder / "tokenizer.json"),
    )
    facts["sha256"]["outputs"] = {}
    assert "refuses them all" in markdown(facts)


def test_lengths_are_drawn_as_bars(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", [("One", [10] * 99 + [20]), ("Two", list(range(4000)))])
    picture = Image.open(tmp_path / "a.png").convert("RGB")
    width = picture.width // 2
    blue = [
        (x, y)
        for x in range(picture.width)
        for y in range(picture.height)
        if picture.getpixel((x, y)) == (0x4C, 0x72, 0xB0)
    ]
    first, second = [p for p in blue if p[0] < width], [p for p in blue if p[0] >= width]
    assert len({x for x, _ in first}) < 20  # one bar
    assert len({x for x, _ in second}) > 200  # all of them
