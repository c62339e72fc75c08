"""Questions that are mined from headings."""

import pytest

from wiki.pages.headings import question
from wiki.pages.page import Page, Section
from wiki.pages.questions import first_paths, mined
from wiki.sources.markdown import parse

LANG = "Das ist ein Abschnitt, der in mehreren Sätzen genug sagt und damit die Überschrift klärt."
LONG = "This is a section that says enough to answer what its heading asks, in some sentences."


def texts(*pages: Page) -> list[str]:
    return [text for text, _ in mined(pages)]


@pytest.mark.parametrize(
    ("heading", "asked"),
    [
        ("2.7.1. Wer hat das Paket hochgeladen?", "Wer hat das Paket hochgeladen?"),
        ("3. Who uploaded the package?", "Who uploaded the package?"),
        ("2.7.1 Who uploaded the package?", "Who uploaded the package?"),
        ("A.1. Who uploaded the package?", "Who uploaded the package?"),
        ("Is it 2.0 or 3.0?", "Is it 2.0 or 3.0?"),
    ],
)
def test_a_question_has_no_number_of_its_section(heading: str, asked: str) -> None:
    body = "Das steht in der Datei mit den Änderungen, die man auch im Netz findet." + " x" * 40
    assert of(heading, body) == asked


def test_headings_that_ask_are_questions_one_of_each_page_first() -> None:
    pages = [
        parse("a.md", f"# A\n\n## How do I a?\n\n{LONG}\n\n## Why a?\n\n{LONG}\n", "/a"),
        parse("b.md", f"# B\n\n## How do I b?\n\n{LONG}\n", "/b"),
    ]
    assert texts(*pages)[:3] == ["How do I a?", "How do I b?", "Why a?"]


def test_pages_for_beginners_and_at_the_top_are_mined_first_and_those_of_all_wikis_never() -> None:
    paths = ["a/b.md", "b.md", "changelog.md", "a/getting-started.md", "tags.md", "index.md"]
    assert first_paths(paths) == ["index.md", "a/getting-started.md", "b.md", "a/b.md"]


def test_a_heading_without_an_answer_or_of_several_pages_asks_for_nothing() -> None:
    text = f"# A\n\n## Why?\n\n{LONG}\n\n## And then?\n\nNothing.\n\n## What is it?\n\n{LONG}\n"
    other = f"# B\n\n## Why?\n\n{LONG}\n"
    asked = texts(parse("a.md", text, "/a"), parse("b.md", other, "/b"))
    assert asked == ["What is it?", "A", "B"]


def test_behind_questions_pages_are_named_that_say_something() -> None:
    empty = parse("a.md", "# A\n\nShort.\n", "/a")
    page = parse("coffee.md", f"# The coffee machine\n\n{LONG}\n\n## Use cases\n\n{LONG}", "/c")
    assert texts(empty, page) == ["The coffee machine", "Use cases"]
    assert texts() == []


def test_headings_of_other_languages_are_taken_as_they_are() -> None:
    german = "\n\n".join(
        f"{heading}\n\n{LANG}"
        for heading in ("# Konten", "## Benutzer `anlegen`", "## Wer darf das?")
    )
    assert texts(parse("konten.md", german, "/k"))[:3] == [
        "Wer darf das?",
        "Konten",
        "Benutzer anlegen",
    ]
    for asked in ("كيف أثبت الإضافة؟", "如何安装插件？"):
        assert texts(parse("a.md", f"# A\n\n## {asked}\n\n{LONG}", "/a"))[0] == asked


def of(heading: str, body: str = LONG) -> str:
    return question(Section(heading, "a", (heading,), f"## {heading}\n\n{body}"))


@pytest.mark.parametrize(
    ("heading", "asked"),
    [
        ("Installing plugins", "How do I install plugins?"),
        ("Step 1: Install `pip`", "How do I install pip?"),
        ("How to send a fax", "How do I send a fax?"),
        ("Setting Up your account {#setup}", "How do I set up my account?"),
        ("Stopping the server", "How do I stop the server?"),
        ("Use your own domain", "How do I use my own domain?"),
        ("Back up the database", "How do I back up the database?"),
        ("Create a user. ", "How do I create a user?"),
        ("Install the app? How do I do it?", "Install the app?"),
        ("Create the Folders", "How do I create the folders?"),
        ("Getting Started", "How do I get started?"),
        ("Check your version of npm", "How do I check my version of npm?"),
    ],
)
def test_a_heading_that_says_what_to_do_answers_how(heading: str, asked: str) -> None:
    assert of(heading) == asked


@pytest.mark.parametrize(
    "heading",
    [
        *("Use cases", "Build options", "Test results", "Logging levels", "Running costs"),
        *("Open source", "Installation", "Configure", "Add --force: options", "Prompts", ""),
        "Install what you need",
        *("High or low?", "View function", "Serving and testing"),
        "Benutzer anlegen",
    ],
)
def test_a_heading_that_may_name_a_thing_asks_nothing(heading: str) -> None:
    assert of(heading) == ""


def test_what_the_section_writes_large_is_a_name() -> None:
    assert of("Deploying To Kubernetes", f"Kubernetes has it. {LONG}") == (
        "How do I deploy to Kubernetes?"
    )
    assert of("SPECIFYING REVISIONS OF AN SSH KEY", f"Over SSH. {LONG}") == (
        "How do I specify revisions of an SSH key?"
    )
    assert of("Read the Docs", f"On Read the Docs it is free. {LONG}") == ""


def test_a_section_that_only_leads_elsewhere_answers_nothing() -> None:
    assert of("Create a user", "- [Create a user](users.md)\n" * 20) == ""
    assert of("How do I sign in?", "- [Sign in](in.md)\n") == ""


def test_one_sentence_answers_a_heading_that_asks() -> None:
    assert of("How do I stop it?", "Press Ctrl-C in the terminal.") == "How do I stop it?"
    assert of("Stopping the server", "Press Ctrl-C in the terminal.") == ""
