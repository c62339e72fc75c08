"""Words: what a question and a page must have in common to meet."""

import random
import re
import sqlite3
import sys
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from wiki.pages.words import STOP_WORDS, content_words, stem, stems, words

DOCS = Path(__file__).parents[2] / "docs"


def test_words_are_lower_case_without_accents_and_marks() -> None:
    assert words("Größe, CAFÉ; naïve_snake-case v1.2") == [
        *("große", "cafe", "naive", "snake", "case", "v1", "2")
    ]


def test_an_apostrophe_parts_a_word_whichever_way_it_is_written() -> None:
    assert words("don't the user’s") == ["don", "t", "the", "user", "s"]


def test_stop_words_and_single_letters_carry_no_content_but_digits_do() -> None:
    assert content_words("How do I get a 5 or an x for what's in it?") == ["5"]


def test_other_writing_systems_are_kept() -> None:
    assert content_words("設定 を Ж") == ["設定", "を", "ж"]


def test_languages_with_spaces_have_the_words_between_them() -> None:
    text = "Größe ÇOK naïve Привет Ёлка γειά σου שלום مرحبا 안녕하세요 설정"
    spelt = [unicodedata.normalize("NFKD", word.lower()) for word in text.split()]
    assert words(text) == [re.sub("[\u0300-\u036f]", "", word) for word in spelt]


def test_where_a_script_has_no_spaces_two_signs_side_by_side_are_a_word() -> None:
    assert words("東京都で、root権限。") == ["東京", "京都", "都で", "root", "権限"]
    assert words("鍵を Debianの 設定") == ["鍵を", "debian", "の", "設定"]
    assert words("设置选项2个") == ["设置", "置选", "选项", "2", "个"]
    assert words("ติดตั้ง v2") == ["ตด", "ดต", "ตง", "v2"]


def test_kana_are_other_letters_with_their_marks_however_they_are_written() -> None:
    assert words("バス") == words("ﾊﾞｽ") == words("ハ\u3099ス") == ["バス"]
    assert words("ハス") == ["ハス"]
    assert words("ファイル・サーバー") == [*words("ファイル"), *words("サーバー")]


def test_stop_words_are_written_as_words_splits_them() -> None:
    assert all(words(word) == [word] for word in STOP_WORDS)


def test_stems_keep_order_and_repetitions() -> None:
    assert stems("installing the installer, installed") == ["instal", "instal", "instal"]


def test_threads_that_stem_at_once_stay_apart() -> None:
    """What is wrong would be kept, and its pages no longer found."""
    found = (re.findall(r"[a-z]{4,}", page.read_text().lower()) for page in DOCS.rglob("*.md"))
    every = sorted({word for some in found for word in some})
    stem.cache_clear()
    right = {word: stem(word) for word in every}
    stem.cache_clear()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(6) as pool:
            orders = [random.Random(seed).sample(every, len(every)) for seed in range(6)]
            for order, stemmed in pool.map(lambda order: (order, [*map(stem, order)]), orders):
                assert [right[word] for word in order] == stemmed
    finally:
        sys.setswitchinterval(interval)
        stem.cache_clear()


def test_stems_are_those_that_the_index_makes() -> None:
    known = sorted(set(content_words(" ".join(p.read_text() for p in DOCS.rglob("*.md")))))
    db = sqlite3.connect(":memory:")
    db.executescript(
        "CREATE VIRTUAL TABLE t USING fts5 (w, tokenize='porter unicode61 remove_diacritics 2');"
        "CREATE VIRTUAL TABLE v USING fts5vocab (t, 'instance');"
    )
    db.executemany("INSERT INTO t (rowid, w) VALUES (?, ?)", enumerate(known))
    theirs = dict(db.execute("SELECT doc, term FROM v"))
    db.close()
    differ = [word for number, word in enumerate(known) if theirs[number] != stem(word)]
    # "possibly", "os": SQLite's stemmer is an older edition of the same rules.
    assert len(differ) < len(known) / 200, differ


@given(st.text())
def test_any_text_has_words(text: str) -> None:
    for word in words(text):
        assert word
        assert not any(c.isspace() for c in word)
