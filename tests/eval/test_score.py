import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.scoring.words import admits_gap, containment, is_refusal, is_right, normalised, token_f1
from eval.statistics.bootstrap import mean
from gateway.answering.grounding.prompt import REFUSAL

ASCII = st.text(st.characters(max_codepoint=127))


@given(ASCII, st.sampled_from(["", "the cat", "A state-of-the-art a.", "x $5 a_b ~^`|<>="]))
def test_words_of_ascii_are_those_of_squads_script(text: str, more: str) -> None:
    """From evaluate-v1.1.py."""
    text = f"{text} {more} {text}"
    bare = "".join(sign for sign in text.lower() if sign not in set(string.punctuation))
    assert normalised(text) == re.sub(r"\b(a|an|the)\b", " ", bare).split()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Click “Save” → OK…", 'Click "Save" -> OK...'),
        ("Zu\u0308rich Gro\u0308\u00dfe", "Zürich Größe"),
        ("¿Dónde? «Guardar» — ahora", "dónde guardar ahora"),
        ("\uff21\uff22\uff23\uff11\u3000ok", "abc1 ok"),
        ("\u26a0\ufe0f re\u00adboot\u200b", "reboot"),
    ],
)
def test_words_beyond_ascii_are_the_same_however_they_are_written(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)
    assert token_f1(one, other) == 1
    assert containment(f"So: {one}", other)


def test_a_sign_of_chinese_or_japanese_is_a_word() -> None:
    assert normalised("按蓝色按钮7秒。") == ["按", "蓝", "色", "按", "钮", "7", "秒"]
    assert normalised("USBケーブル、") == ["usb", "ケ", "ー", "ブ", "ル"]
    assert containment("请按蓝色按钮。", "按蓝色按钮")
    assert token_f1("蓝色", "蓝天") == 0.5
    assert normalised("저장 버튼") == ["저장", "버튼"]  # Korean has spaces


def test_a_written_yes_or_no_is_held_by_what_begins_with_it() -> None:
    limit = "There is no such limit: yes, you can."
    assert not containment(limit, "No.")
    assert not containment(limit, "Yes")
    assert containment(f"No! {limit}", "no")
    assert containment(limit, "No such limit")


def test_f1_is_that_of_squad() -> None:
    assert token_f1("The cat, sat.", "a cat sat") == 1
    assert token_f1("cat cat", "cat") == pytest.approx(2 / 3)
    assert token_f1("", "cat") == 0
    assert token_f1("dog", "cat") == 0


@given(st.text(), st.text())
def test_f1_is_a_share_and_has_no_side(one: str, other: str) -> None:
    assert token_f1(one, other) == pytest.approx(token_f1(other, one))
    assert 0 <= token_f1(one, other) <= 1


def test_an_answer_holds_the_written_one_only_word_by_word() -> None:
    assert containment("It listens on the port 4000, always.", "Port 4000")
    assert not containment("It listens on port 40001.", "port 4000")
    assert not containment("port, then 4000", "4000 port")
    assert not containment("anything", "...")


def test_an_answer_is_right_that_is_near_the_written_one_and_has_its_numbers() -> None:
    gold = "You can send a bike back within 30 days of its arrival."
    assert is_right("A bike can go back within 30 days of its arrival.", gold)
    assert not is_right("A bike can go back within 10 days of its arrival.", gold)
    assert not is_right("30", gold)
    assert is_right(gold.replace("30", "\uff13\uff10"), gold.replace("its arrival", "arriving"))
    assert is_right("Within 30 days: You can send a bike back within 30 days of its arrival!", gold)


def test_steps_and_addresses_are_no_numbers_of_an_answer() -> None:
    answer = "Open the settings of your account, choose General there, and wait."
    gold = (
        "1. Open the settings of your account.\n"
        "2) Choose [General](kb/12.md), see https://x.example/99, and wait"
    )
    assert is_right(answer, f"{gold} there.")
    assert not is_right(answer, f"{gold} 5 minutes.")


@pytest.mark.parametrize(
    "answer",
    [
        REFUSAL,
        f"  {REFUSAL.upper()} Ask somebody.",
        "I don\u2019t have enough information to answer that.",
        f"\u201c{REFUSAL}\u201d",
        f"**{REFUSAL}**",
        "> *I don't* have enough information to answer __this__ question.",
        f"Answer:\n\n{REFUSAL}",
        f"The pages do not say. {REFUSAL}",
        f"I'm sorry! The documentation doesn\u2019t mention Cobol.\n\n{REFUSAL}",
        f"Press Escape, but {REFUSAL}",  # of which the product lets nothing out
    ],
)
def test_a_refusal_is_one_however_it_is_written(answer: str) -> None:
    assert is_refusal(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "Press Escape.",
        f"Press Escape. {REFUSAL}",
        f"No. {REFUSAL}",
        f"You cannot. Press Escape instead. {REFUSAL}",
        "I don't have enough information about the price, but press Escape.",
        "The pages do not say.",
        f"The pages do not say when. Press Escape. {REFUSAL}",
    ],
)
def test_what_answers_is_none_whatever_it_adds(answer: str) -> None:
    assert not is_refusal(answer)


def test_half_an_answer_says_what_the_pages_leave_open() -> None:
    assert admits_gap("Press F5. The page doesn't say what Shift does.")
    assert not admits_gap("I'm sorry, but as a chatbot I can't open your inbox. Press F5.")
    assert not admits_gap("Press F5. The page reloads. Nothing is lost.")
    assert not admits_gap("")


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    import random

    draws = random.Random(1)
    held = 0
    for seed in range(40):
        found = mean([float(draws.random() < 0.6) for _ in range(100)], seed)
        held += found.low <= 0.6 <= found.high
    assert held >= 34
    assert mean([1.0] * 20) == (1, 1, 1, 20)
    with pytest.raises(ValueError, match="nothing"):
        mean([])
