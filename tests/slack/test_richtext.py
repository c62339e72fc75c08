import json
from typing import Any

import pytest

from tests.slack.stand_in import leaves, words
from widget.service.outcome import Claim, Outcome, Source
from widget.slack import messages
from widget.slack.messages import escaped, typed
from widget.slack.richtext import CUT, LIMIT, block

PAGE = "https://wiki.example.com/a/b/"


def kinds(text: str) -> list[str]:
    return [element["type"].removeprefix("rich_text_") for element in block(text)["elements"]]


def only(text: str, base: str = "") -> list[dict[str, Any]]:
    (element,) = block(text, base)["elements"]
    found: list[dict[str, Any]] = element["elements"]
    return found


def test_words_are_bold_italic_struck_and_code_also_inside_words() -> None:
    assert only("a**b**c *d* ~~e~~ `f*` **_g_**") == [
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b", "style": {"bold": True}},
        {"type": "text", "text": "c "},
        {"type": "text", "text": "d", "style": {"italic": True}},
        {"type": "text", "text": " "},
        {"type": "text", "text": "e", "style": {"strike": True}},
        {"type": "text", "text": " "},
        {"type": "text", "text": "f*", "style": {"code": True}},
        {"type": "text", "text": " "},
        {"type": "text", "text": "g", "style": {"bold": True, "italic": True}},
    ]


@pytest.mark.parametrize(
    "text", ["<!channel>", "<@U1|x>", "<!subteam^S1>", "@here", "*.py and *.md", "a_b_c", "&lt;"]
)
def test_what_mrkdwn_would_read_is_only_text(text: str) -> None:
    shown = text.replace("&lt;", "<")
    assert only(text) == [{"type": "text", "text": shown}]


def test_links_go_to_web_addresses_only() -> None:
    text = "[a](https://x.example/) [b](../c/) [d](page.md) [e](ftp://x) ![f](https://x.example/i)"
    found = only(text, PAGE)
    assert [(one["text"], one["url"]) for one in found if one["type"] == "link"] == [
        ("a", "https://x.example/"),
        ("b", "https://wiki.example.com/a/c/"),
        ("f", "https://x.example/i"),
    ]
    assert words([{"type": "rich_text", "elements": found}]) == "a b d e f"
    assert only("[b](../c/)") == [{"type": "text", "text": "b"}]


def test_lists_keep_their_depth_their_numbers_and_what_stands_between() -> None:
    text = (
        "3. one\n4. two\n\n   ```\n   make\n   ```\n5. three\n   - deep\n     - deeper\n6. four\n"
    )
    lists = [
        (one["style"], one["indent"], one.get("offset", 0), len(one["elements"]))
        for one in block(text)["elements"]
        if one["type"] == "rich_text_list"
    ]
    assert lists == [
        ("ordered", 0, 2, 2),
        ("ordered", 0, 4, 1),
        ("bullet", 1, 0, 1),
        ("bullet", 2, 0, 1),
        ("ordered", 0, 5, 1),
    ]
    assert kinds(text)[:3] == ["list", "preformatted", "list"]


def test_code_quotes_and_tables_have_elements_of_their_own() -> None:
    text = "# Head\n\ntext\n\n> a\n> - b\n\n```sh\nx = `1`\n```\n\n| a | bb |\n|---|---|\n|c|d|"
    assert kinds(text) == ["section", "quote", "preformatted", "preformatted"]
    assert words([block(text)]) == "Head\n\ntext\na\n• bx = `1`a  bb\n-  --\nc  d"


@pytest.mark.parametrize(
    "text", ["", "\n\n", "---", "```\n```", "-", "> ", "[](https://x.example)"]
)
def test_slack_gets_no_empty_text(text: str) -> None:
    made = block(text)
    assert made["elements"]
    assert all(leaf["text"] for leaf in leaves(made))


@pytest.mark.parametrize("text", ["**a** `b` " * 1_800, "x" * 32_000, "a\n\n" * 6_100])
def test_a_long_text_is_cut_where_slack_would_refuse_it(text: str) -> None:
    made = block(text)
    assert LIMIT / 3 < len(json.dumps(made, ensure_ascii=False)) < LIMIT + 500
    assert words([made]).endswith(CUT)


def test_what_people_type_is_read_as_they_see_it() -> None:
    text = "<@UBOT> is <https://a.example|a.example> &lt;b&gt; in <#C1|general>? <!here> <@U2>"
    assert typed(text, "UBOT") == "is https://a.example <b> in #general? @here @U2"


def test_escaped_text_names_nobody() -> None:
    assert escaped("<!channel> & <@U1>") == "&lt;!channel&gt; &amp; &lt;@U1&gt;"


def test_slack_names_what_is_not_supported_and_quotes_without_a_model() -> None:
    text = "It is port 4000. It is port 9999."
    source = Source(title="Ports", section="Ports › The gateway", url="https://w.example/p/#g")
    claims = (
        Claim(start=0, end=16, verdict="supported"),
        Claim(start=17, end=33, verdict="contradicted", reason="number: 9999"),
    )
    written = Outcome(model="Llama", mode="generative", sources=(source,), claims=claims)
    said = json.dumps(messages.done("a" * 8, "Which?", text, written, False).blocks)
    assert "Answered by Llama" in said
    assert "Not supported by the docs: \\u201cIt is port 9999.\\u201d" in said
    assert "Ports \\u203a The gateway" in said
    quoted = Outcome(model="docs", mode="extractive", sources=(source,))
    said = json.dumps(messages.done("a" * 8, "Which?", text, quoted, False).blocks)
    assert "Quoted from the docs" in said
    assert "Answered by" not in said
    refused = Outcome(model="Llama", mode="generative", claims=claims[1:])
    said = json.dumps(messages.done("a" * 8, "Which?", text, refused, False).blocks)
    assert "9999" not in said
    assert "Answered by" not in said
