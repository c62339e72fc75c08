"""What the box says, in every language, and which language that is."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import widget
from widget.app import create_app
from widget.service.store import REASONS
from widget.settings import WidgetSettings
from widget.text.language import FOLDER, Language, choose, languages

LANGUAGES = languages(FOLDER)
ENGLISH = LANGUAGES["en"]
OTHERS = [language for code, language in LANGUAGES.items() if code != "en"]
TEMPLATES = (Path(widget.__file__).parent / "templates").glob("*.html")

# What is raised with a sentence that the box shows.
SAID = {
    "BadQuestion",
    "Failure",
    "FeedbackRefused",
    "NotHuman",
    "NotSent",
    "NotStored",
    "BadIdentity",
}


def gaps(text: str) -> list[str]:
    """The names in braces."""
    return sorted(re.findall(r"{\w*}", text))


def sentences() -> Iterator[str]:
    """Every sentence that the server says to a reader, with a 7 in its gaps."""
    root = Path(widget.__path__[0])
    for path in sorted(root.rglob("*.py")):
        if path.relative_to(root).parts[0] in {"review", "slack"}:
            continue  # people of the team read these, in English
        for node in ast.walk(ast.parse(path.read_text())):
            said: list[ast.expr] = []
            if isinstance(node, ast.Assign):
                named = [name for name in node.targets if isinstance(name, ast.Name)]
                said = [node.value] if any(name.id.isupper() for name in named) else []
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                said = node.args if node.func.id in SAID else []
            for value in said:
                text = spoken(value)
                if re.fullmatch(r"[A-Z].* .*\.", text, re.DOTALL):
                    yield text


def spoken(value: ast.expr) -> str:
    """The text of a string of the source."""
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        return re.sub(r"{\w*}", "7", value.value)
    if isinstance(value, ast.JoinedStr):
        return "".join(
            spoken(part) if isinstance(part, ast.Constant) else "7" for part in value.values
        )
    return ""


def test_what_is_raised_with_a_sentence_has_these_names() -> None:
    source = "".join(path.read_text() for path in Path(widget.__path__[0]).rglob("*.py"))
    assert [name for name in SAID if f"class {name}(" not in source] == []


def test_these_languages_are_spoken() -> None:
    assert set(LANGUAGES) == {"en", "de", "fr", "es", "ja", "zh"}


@pytest.mark.parametrize("language", OTHERS, ids=lambda language: language.code)
def test_a_language_says_everything(language: Language) -> None:
    assert language.words.keys() == ENGLISH.words.keys()
    for key, text in language.words.items():
        assert gaps(text) == gaps(ENGLISH.words[key]), key
    for english, text in language.sentences.items():
        assert gaps(text) == gaps(english), english
    assert language.sentences.keys() == LANGUAGES["de"].sentences.keys()


@pytest.mark.parametrize("sentence", sorted(set(sentences())))
def test_a_sentence_of_the_server_is_translated(sentence: str) -> None:
    for language in OTHERS:
        assert language.sentence(sentence) != sentence, language.code


def test_there_are_sentences_to_translate() -> None:
    assert len(set(sentences())) > 20


def test_every_string_is_used_and_every_used_one_is_there() -> None:
    code = Path(widget.__path__[0]) / "box" / "views.py"
    used = "".join(path.read_text() for path in [*TEMPLATES, code])
    called = set(re.findall(r"\bt\('([\w-]+)'|\bt\(\"([\w-]+)\"", used))
    assert {one or other for one, other in called} <= ENGLISH.words.keys()
    for key in ENGLISH.words.keys() - {"thousands", "direction"}:
        assert re.search(rf"[\"']{key}[\"']", used) or key in REASONS, key


@pytest.mark.parametrize(
    ("wanted", "accepted", "code"),
    [
        ("", "", "en"),
        ("de", "fr", "de"),
        ("de-AT", "", "de"),
        ("ZH-hans", "", "zh"),
        ("nl", "fr-CA,en;q=0.8", "fr"),
        ("", "en;q=0.2, es;q=0.9", "es"),
        ("", "nl, ja;q=0", "en"),
        ("", "*;q=0.5, it", "en"),
        ("../../etc", "q=;;,,=", "en"),
    ],
)
def test_the_page_decides_then_the_browser_then_english(
    wanted: str, accepted: str, code: str
) -> None:
    assert choose(wanted, accepted).code == code


def test_a_number_in_a_sentence_stays_and_its_part_is_translated() -> None:
    busy = "Many people are asking right now. Please try again in 20 seconds."
    assert LANGUAGES["de"].sentence(busy) == (
        "Gerade fragen viele. Bitte versuch es in 20 Sekunden noch einmal."
    )
    assert LANGUAGES["ja"].sentence("No such sentence.") == "No such sentence."


def test_values_in_a_string_are_escaped() -> None:
    assert "<i>" not in ENGLISH.say("answered_by", model="<i>")


async def test_each_request_is_answered_in_its_language() -> None:
    app = create_app(WidgetSettings())
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://box.example"
    ) as http:
        page = (await http.get("/box?lang=de", headers={"accept-language": "fr"})).text
        assert '<html lang="de" dir="ltr"' in page
        assert 'action="asks?lang=de"' in page
        page = (await http.get("/box", headers={"accept-language": "fr"})).text
        assert '<html lang="fr"' in page
        assert 'action="asks"' in page
        refused = await http.post("/asks?lang=es", data={"question": ""})
        assert "Escribe una pregunta." in refused.text
