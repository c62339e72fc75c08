"""What is found for a question: by words, by meaning, near the page that the reader is on."""

from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.gateway.conftest import SITE, page
from wiki.index.embed import Embedder
from wiki.index.index import Index, writing
from wiki.index.missing import embed_missing
from wiki.index.passages import passages
from wiki.search.hits import best_passages
from wiki.search.query import asked
from wiki.search.ranking import lost
from wiki.search.search import Search

Make = Callable[..., Index]


@pytest.fixture
def by_words(indexed: Make) -> Callable[..., Search]:
    """Of pages, given as path and text, without vectors."""
    return lambda **texts: Search(indexed(**texts), None)


@pytest.fixture
def by_meaning(indexed: Make, embedder: Embedder) -> Callable[..., Search]:
    """The same, with vectors."""

    def make(**texts: str) -> Search:
        index = indexed(**texts)
        embed_missing(partial(writing, index.file), embedder)
        return Search(index, embedder)

    return make


def paths(search: Search, question: str, **options: object) -> list[str]:
    return [hit.page.path for hit in search.find(question, **options)]  # type: ignore[arg-type]


def test_a_page_that_says_it_in_other_words_is_found(by_meaning: Callable[..., Search]) -> None:
    search = by_meaning(
        money="# Refunds\n\nWe pay the amount to your card within five days.",
        paper="# Printer\n\nPut paper into the tray. Do not use your old paper.",
        trip="# Travel\n\nBook trains at the travel desk.",
    )
    assert paths(search, "How do I get my money back?")[0] == "money.md"


def test_a_rare_word_decides_among_pages_that_mean_about_the_same(
    by_meaning: Callable[..., Search],
) -> None:
    search = by_meaning(
        **{f"e{n}": f"# Errors {n}\n\nThe server failed with code E{n}77." for n in range(8)}
    )
    assert paths(search, "server failed with code E577")[0] == "e5.md"


def test_without_a_model_words_alone_decide(by_words: Callable[..., Search]) -> None:
    search = by_words(a="# Backup\n\nCopies are made at night.", b="# Keys\n\nMake a key.")
    assert paths(search, "How are backups made?")[0] == "a.md"
    assert paths(search, "zebra") == []


def test_a_page_without_vectors_yet_is_found_beside_those_that_have_them(
    by_meaning: Callable[..., Search],
) -> None:
    search = by_meaning(a="# Keys\n\nMake a key.", b="# Limits\n\nA key has limits.")
    with writing(search.index.file) as writer:
        writer.put("", page("c.md", "# Backup\n\nBackups are made at night."), "")
    assert paths(search, "when are backups made at night?")[0] == "c.md"


def test_while_most_pages_wait_for_vectors_words_decide_what_is_shown(
    by_meaning: Callable[..., Search],
) -> None:
    code = "\n".join(f"print(ask({text!r}))" for text in ("How do I stop the server?", "Hello?"))
    search = by_meaning(clients=f"# Clients\n\nUse the package:\n\n```python\n{code}\n```")
    with writing(search.index.file) as writer:
        text = "# Start\n\n## How do I stop the server?\n\nPress Ctrl-C."
        writer.put("", page("start.md", text), "")
    first, *others = best_passages(search.find("How do I stop the server?"))
    assert first.page.path == "start.md"
    assert {found.meaning for found in (first, *others)} == {None}


def test_vectors_of_another_model_are_not_compared(
    by_meaning: Callable[..., Search], embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = by_meaning(a="# Refunds\n\nPaid to your card.", b="# Keys\n\nMake a key.")
    monkeypatch.setattr(embedder, "model", "another")
    assert paths(search, "key") == ["b.md"]


def test_a_match_in_the_title_outranks_one_in_the_text(by_words: Callable[..., Search]) -> None:
    found = by_words(
        a="# Fruit\n\nBackups, backups: make backups of fruit. Backups!",
        b="# Backups\n\nCopies of everything that is there, made at night.",
        c="# Other\n\nNothing of the kind.",
    ).find("How do backups work?")
    assert [hit.page.path for hit in found] == ["b.md", "a.md"]
    assert found[0].score > found[1].score > 0


def test_words_meet_in_every_form_and_without_accents(by_words: Callable[..., Search]) -> None:
    made = by_words(a="# Café\n\nInstalled by the installer.", b="# B\n\nOther things.")
    for question in ("installing", "INSTALLS", "cafe", "CAFÉS"):
        assert paths(made, question) == ["a.md"], question


def test_what_is_sought_is_spelt_as_the_wiki_spells_it(by_words: Callable[..., Search]) -> None:
    made = by_words(a="# Calendars\n\nOne for each team.", b="# B\n\nOther things.")
    sought = made.sought("How is a calender shared?", ["Where do I start?"])
    assert sought.words == {"calendar": 1.0, "share": 1.0}
    assert sought.idf == made.index.idf(["calendar", "share"])
    assert sought.text == "How is a calender shared?"
    (hit,) = made.hits(sought)
    assert hit.page.path == "a.md"


@pytest.mark.parametrize(
    "question",
    ['"', '""', '"apples', "AND apples", "apples AND", "NOT", "apples*", "*", "NEAR(", "NEAR(a b)",
     "title:apples", "^apples", "-apples", "{apples}", "apples + pears", "' OR 1=1 --", ");",
     "\0apples", "\ud800 apples", "apples\u2028", "(" * 500, "apples " * 2000],
)  # fmt: skip
def test_search_syntax_in_a_question_is_only_words(
    by_words: Callable[..., Search], question: str
) -> None:
    made = by_words(a="# A\n\nApples", b="# B\n\nPears")
    assert ("a.md" in paths(made, question)) == ("apples" in question)


def test_scores_are_positive_and_fall(by_meaning: Callable[..., Search]) -> None:
    search = by_meaning(a="# Apples\n\nFruit", b="# Cars\n\nWheels", c="# Pears\n\nFruit")
    scores = [hit.score for hit in search.find("Which fruit is there?")]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] > 0


def test_the_current_page_wins_among_pages_that_match_alike(
    by_words: Callable[..., Search],
) -> None:
    search = by_words(a="# A\n\nThe port is 80.", b="# B\n\nThe port is 81.")
    for here in ("a", "b"):
        assert paths(search, "Which port?", page_url=f"{SITE}{here}/#x")[0] == f"{here}.md"


def test_the_current_page_does_not_win_where_another_matches_better(
    by_words: Callable[..., Search],
) -> None:
    search = by_words(a="# Backup\n\nRestore a backup so.", b="# Keys\n\nNot in the backup.")
    assert paths(search, "restore backup", page_url=f"{SITE}b/")[0] == "a.md"


def test_pages_beside_the_current_one_come_before_others(by_words: Callable[..., Search]) -> None:
    search = by_words(
        team__a="# One\n\nThe limit is 3.",
        team__b="# Two\n\nSomething else",
        other="# Six\n\nThe limit is 4.",
        more="# Ten\n\nThe limit is 5.",
        hub="# Hub\n\nSee [ten](../more/).",
    )
    assert paths(search, "Which limit?", page_url=f"{SITE}team/b/")[0] == "team/a.md"
    assert paths(search, "Which limit?", page_url=f"{SITE}hub/")[0] == "more.md"


def test_a_link_to_no_address_on_the_current_page_does_no_harm(
    by_words: Callable[..., Search],
) -> None:
    hub = "# Hub\n\nSee [nas](http://[nas), [that](//[) and [ten](../more/)."
    search = by_words(a="# Six\n\nThe limit is 4.", more="# Ten\n\nThe limit is 5.", hub=hub)
    assert paths(search, "Which limit?", page_url=f"{SITE}hub/")[0] == "more.md"


def test_a_question_that_points_at_the_page_is_answered_by_it(
    by_words: Callable[..., Search],
) -> None:
    search = by_words(a="# Do\n\nHow to do a backup.", b="# B\n\nText")
    assert paths(search, "how do I do this?", page_url=f"{SITE}b/")[0] == "b.md"


def test_the_current_page_answers_what_nothing_matches(by_words: Callable[..., Search]) -> None:
    search = by_words(a="# A\n\nText")
    assert paths(search, "zebra", page_url=f"{SITE}a/") == ["a.md"]
    assert paths(search, "zebra", page_url="https://elsewhere.example.com/") == []


def test_misspelt_words_are_found(by_words: Callable[..., Search]) -> None:
    search = by_words(a="# Calendar\n\nShare it.", b="# Printer\n\nPaper")
    for misspelt in ("calender", "calandar", "caledar", "calenddar", "claendar"):
        assert paths(search, f"my {misspelt}") == ["a.md"], misspelt
    assert paths(search, "my kalendaar") == []


def test_a_question_without_spaces_finds_its_page(by_words: Callable[..., Search]) -> None:
    search = by_words(
        a="# 印刷\n\nプリンタを接続してから、設定画面を開きます。",
        b="# バックアップ\n\n毎晩データを別のディスクに保存します。",
        c="# 备份\n\n每天晚上把数据保存到另一个磁盘。",
        d="# Disks\n\nThe disk is full.",
    )
    assert paths(search, "プリンタの設定方法を教えてください")[0] == "a.md"
    assert paths(search, "データのバックアップはいつ保存されますか")[0] == "b.md"
    assert paths(search, "数据什么时候备份？")[0] == "c.md"
    # Two signs are not misspelt: none of them is replaced by one that the wiki has.
    assert search.sought("印刷機の設置").words.keys() == {"印刷", "刷機", "機の", "の設", "設置"}


def test_a_question_without_spaces_goes_on_from_none_before_it(
    by_words: Callable[..., Search],
) -> None:
    search = by_words(a="# バックアップ\n\n毎晩。", b="# プリンタ\n\n接続します。")
    found = search.sought("プリンタを接続するにはどうしますか", ["バックアップはいつですか"])
    assert found.text == "プリンタを接続するにはどうしますか"


def test_a_follow_up_question_is_about_what_was_asked_before(
    by_words: Callable[..., Search],
) -> None:
    search = by_words(
        a="# Backup\n\nBackups are kept on disk. Switch backups off in the settings.",
        b="# Alarm\n\nSwitch the alarm off at the door.",
    )
    before = ["How are backups kept?"]
    assert paths(search, "And how do I switch it off?", history=before)[0] == "a.md"
    assert paths(search, "How do I switch the alarm at the door off?", history=before)[0] == "b.md"


@pytest.mark.parametrize(
    "question",
    [
        *("What is an alias?", "What's RAG?", "Where are the logs?", "Which ports are used?"),
        *("Can I use Slack?", "Is there a widget?", "How do I make a backup?"),
    ],
)
def test_a_short_question_that_names_its_subject_stands_alone(question: str) -> None:
    assert asked(question, ["How do I rotate a key?"]) == asked(question)


@pytest.mark.parametrize(
    "question",
    [
        *("On a Mac?", "Windows?", "What is the default?", "What is needed?", "Why not?"),
        *("Which version?", "How do I uninstall?", "Where is it?", "And the port?"),
    ],
)
def test_a_fragment_goes_on_from_the_question_before(question: str) -> None:
    assert "rotat" in asked(question, ["How do I rotate a key?"]).words


def test_the_limit_holds(by_words: Callable[..., Search]) -> None:
    search = by_words(**{f"p{n}": "# Apples\n\nText" for n in range(12)})
    assert len(paths(search, "apples")) == 5
    assert len(paths(search, "apples", limit=2)) == 2


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(question=st.text(max_size=80), page_url=st.none() | st.text(max_size=30))
def test_no_question_breaks_the_search(
    by_meaning: Callable[..., Search], question: str, page_url: str | None
) -> None:
    if not hasattr(test_no_question_breaks_the_search, "made"):
        made = by_meaning(a="# A\n\nApples", b="# B\n\n[A](a.md)")
        test_no_question_breaks_the_search.made = made  # type: ignore[attr-defined]
    search: Search = test_no_question_breaks_the_search.made  # type: ignore[attr-defined]
    search.find(question, page_url, history=[question])
    search.find("\ud800 apples \udfff \0", f"{SITE}b/\ud800")


LONG = (
    "Open the settings, choose the printer in the list and press the button beside its name. The"
    " printer then prints a test page, and its lamp turns green after about a minute."
)


def test_a_passage_of_few_words_does_not_stand_before_one_that_explains(
    by_meaning: Callable[..., Search],
) -> None:
    search = by_meaning(
        a="# Devices\n\n## Test the printer\n\nSee the printer.",
        b=f"# Devices\n\n## Test the printer\n\n{LONG}",
    )
    first = best_passages(search.find("test the printer"))[0]
    assert first.passage.text == LONG


def test_words_side_by_side_as_in_the_question_come_first(
    by_words: Callable[..., Search], monkeypatch: pytest.MonkeyPatch
) -> None:
    apart = "The branch is what you want to rename, says the guide of the tool."
    beside = "Of the tool the guide says that you want to rename branch after branch."
    search = by_words(a=f"# Guide\n\n## One\n\n{apart}\n\n## Two\n\n{beside}\n")
    first, *_ = best_passages(search.find("rename branch"))
    assert first.passage.text == beside
    monkeypatch.setattr("wiki.search.passage_order.OF_PAIRS", 0)
    hit, *_ = search.find("rename branch")
    assert [one.passage.text for one in hit.passages[:2]] == [apart, beside]
    # How well the wiki answers at all stays what it was.
    assert first.score == pytest.approx(hit.passages[0].score)


def test_passages_that_fit_equally_keep_the_order_of_their_page(
    by_words: Callable[..., Search],
) -> None:
    parts = "\n\n".join(f"## Part {n}\n\nThe printer prints." for n in range(20))
    ranked = best_passages(by_words(a=f"# Guide\n\n{parts}").find("printer"))
    sections = [match.passage.section for match in ranked]
    assert sections == sorted(sections)
    scores = [match.score for match in ranked]
    assert scores == sorted(set(scores), reverse=True), "each place has its own score"


@pytest.mark.parametrize(
    ("question", "heading"),
    [
        ("what is a ruleset", "What is a Ruleset?"),
        ("What is a ruleset?", "3.1. What is a ruleset?"),
        ("3.1 what is a ruleset", "3.1. What is a ruleset?"),
        ("How do I create a ruleset?", "Creating a ruleset"),
    ],
)
def test_the_section_whose_heading_is_the_question_comes_first(
    by_words: Callable[..., Search], question: str, heading: str
) -> None:
    body = "Filters and actions, in the order of the file. " * 20
    search = by_words(
        rules=f"# Rules\n\n## Speed\n\nTo create a ruleset is fast.\n\n## {heading}\n\n{body}",
        other="# Ruleset\n\nTo create a ruleset, create a ruleset: what a ruleset is.",
    )
    hits = search.hits(search.sought(question))
    first = best_passages(hits)[0]
    assert first.page.sections[first.passage.section].heading == heading
    scores = [match.score for match in best_passages(hits)]
    assert scores == sorted(scores, reverse=True)


def test_an_example_that_asks_the_question_stands_behind_its_answer(
    by_words: Callable[..., Search],
) -> None:
    example = (
        'Ask it from Python: `ask("How do I stop the server?")` prints how to stop the server.'
    )
    answer = "Press the red key, and the whole server will stop within a few seconds of that."
    search = by_words(a=f"# Guide\n\n## One\n\n{example}\n\n## Two\n\n{answer}\n")
    for question in ("How do I stop the server?", "how to stop the server"):
        assert best_passages(search.find(question))[0].passage.text == answer
    # What else the example says is found.
    assert best_passages(search.find("ask from python"))[0].passage.text == example


@pytest.mark.parametrize("line", ['"{}"', '**"{}"**', 'Q: "{}"', "1. `{}`"])
def test_a_list_of_questions_stands_where_its_words_put_it(
    by_words: Callable[..., Search], line: str
) -> None:
    listed = f"{line.format('How do I stop the server?')}\n\nPress the red key."
    other = "The server will stop within a few seconds of that."
    search = by_words(a=f"# Guide\n\n## One\n\n{listed}\n\n## Two\n\n{other}\n")
    found = best_passages(search.find("How do I stop the server?"))
    assert found[0].passage.text == listed


def test_a_passage_of_a_large_page_loses_more() -> None:
    small, large = (page("a", "# A\n\n" + "\n\n".join([LONG] * n)) for n in (1, 50))
    losses = [lost(passages(one))[0] for one in (small, large)]
    assert losses[0] < losses[1]


def test_a_page_without_passages_loses_nothing() -> None:
    assert lost(()).size == 0
