"""Pages in chunks: nothing is lost, none is too long, and they overlap as said."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.systems.rag.chunks import Chunk, Cutter
from wiki.index import embed, passages
from wiki.pages.page import Page, Section
from wiki.sources.markdown import parse

CUTTER = Cutter(embed.tokenizer_file())
PLAIN = ["refund", "refunds.", "money,", "back?", "10.5", "naïve", "中文字", "unbelievability\n"]
MARKED = ["`code`", "x*y", "[shown](hidden.md)", "https://a.example/b?c=d", "\n-", "\n1.", "##"]
ODD = ["\n\n", "...", "[SEP]", "\u0301", "\ud800", "\x00"]
WORDS = st.sampled_from([*PLAIN, *MARKED, *ODD])
TEXTS = st.lists(WORDS, max_size=900).map(" ".join)
PAGES = st.lists(TEXTS, min_size=1, max_size=5).map(
    lambda texts: Page(
        "p.md",
        "Page",
        "http://wiki/p/",
        tuple(
            Section(f"H{n}", f"h{n}", (f"H{n}",), f"## H{n}\n\n{text}")
            for n, text in enumerate(texts)
        ),
    )
)


def sentences(count: int, first: int = 0) -> str:
    """Of 10 tokens each."""
    return " ".join(
        f"This is the sentence with the number {n:04}." for n in range(first, first + count)
    )


def page(text: str) -> Page:
    return parse("p.md", text, "http://wiki/")


@given(PAGES, st.sampled_from([256, 300, 512]), st.sampled_from([0, 1, 64, 128]))
@settings(max_examples=60, deadline=None)
def test_chunks_have_all_of_a_page_and_none_is_too_long(
    page: Page, limit: int, overlap: int
) -> None:
    chunks = CUTTER.cut(page, limit, overlap)
    end = 0
    for chunk in chunks:
        assert chunk.start <= end  # no gap
        assert page.text[chunk.start :].startswith(chunk.text)
        assert CUTTER.count(page.text[chunk.start : end]) <= overlap
        assert CUTTER.count(chunk.text) == chunk.tokens <= limit
        assert chunk.start + len(chunk.text) > end or chunk is chunks[0]
        end = chunk.start + len(chunk.text)
    assert end == len(page.text)


@given(PAGES)
@settings(max_examples=30, deadline=None)
def test_what_is_embedded_is_all_of_a_chunk_in_parts_that_the_model_can_read(page: Page) -> None:
    for chunk in CUTTER.cut(page, 512, 64):
        windows = CUTTER.windows(chunk, 256)
        assert "".join(one.partition("\n")[2] for one in windows) == passages.plain(chunk.text)
        assert all(CUTTER.count(one) + 2 <= 256 for one in windows)


def test_chunks_repeat_whole_sentences() -> None:
    chunks = CUTTER.cut(page(sentences(100)), 256, 64)
    for before, after in pairwise(chunks):
        repeated = before.start + len(before.text) - after.start
        assert after.text[:repeated].strip() == before.text[-repeated:].strip()
        assert after.text.startswith("This is")
        assert 55 <= CUTTER.count(after.text[:repeated]) <= 64
    assert all(chunk.text.strip().endswith(".") for chunk in chunks)


def test_a_long_sentence_is_repeated_by_its_last_words() -> None:
    first, second = CUTTER.cut(page("word " * 300), 256, 32)
    assert first.tokens == 256
    assert second.tokens == 300 - 256 + 32


def test_a_chunk_ends_where_a_section_ends_and_the_next_repeats_nothing() -> None:
    text = f"# P\n\n## A\n\n{sentences(18)}\n\n## B\n\n{sentences(18, 50)}"
    first, second = CUTTER.cut(page(text), 256, 64)
    assert first.text.strip().endswith("0017.")
    assert second.text.startswith("## B")


def test_short_sections_share_a_chunk() -> None:
    (chunk,) = CUTTER.cut(page("# P\n\n## A\n\nOne.\n\n## B\n\nTwo."), 512, 64)
    assert chunk.trail == ()
    assert chunk.head == "P"
    assert "One." in chunk.text
    assert "Two." in chunk.text


def test_a_chunk_from_within_a_section_has_its_headings() -> None:
    text = f"# P\n\nBegin.\n\n## A\n\n### B\n\n{sentences(60)}"
    chunks = CUTTER.cut(page(text), 256, 0)
    assert [chunk.head for chunk in chunks] == ["P", *["P › A › B"] * (len(chunks) - 1)]
    assert chunks[1].shown.startswith("P › A › B\nThis is the sentence")


def test_a_heading_longer_than_the_model_reads_leaves_room_for_the_text() -> None:
    chunk = Chunk(page("# P\n\nx"), 0, sentences(30), ("long " * 400,), 300)
    windows = CUTTER.windows(chunk, 256)
    assert len(windows) == 2
    assert all(CUTTER.count(one) + 2 <= 256 for one in windows)


@pytest.mark.parametrize("text", ["# Only a title", "x"])
def test_the_shortest_page_is_one_chunk(text: str) -> None:
    (chunk,) = CUTTER.cut(page(text), 256, 64)
    assert chunk.text == page(text).text
