from hypothesis import given
from hypothesis import strategies as st

from widget.dialect import plain
from widget.markdown import render


def test_an_admonition_is_a_quotation_with_its_title() -> None:
    text = 'a\n\n!!! note "Mind"\n\n    One\n\n    - two\n\nb'
    html = render(plain(text))
    assert html.startswith("<p>a</p>\n<blockquote>\n<p><strong>Mind</strong></p>\n<p>One</p>\n<ul>")
    assert html.endswith("</blockquote>\n<p>b</p>\n")
    assert "<strong>Warning</strong>" in render(plain("??? warning\n    x"))
    assert "<strong>" not in render(plain('!!! tip inline ""\n    x'))


def test_tabs_follow_one_another() -> None:
    text = '=== "Linux"\n\n    ```sh\n    ls\n    ```\n\n=== "Mac"\n\n    x'
    html = render(plain(text))
    assert "<p><strong>Linux</strong></p>\n<pre" in html
    assert html.endswith("<p><strong>Mac</strong></p>\n<p>x</p>\n")


def test_code_is_left_alone() -> None:
    text = '```\n!!! note\n    x\n=== "y"\n# z {#w}\n```'
    assert plain(text) == text


def test_anchors_and_comments_are_not_shown() -> None:
    assert plain("## Install {#linux .x}\n<!-- hidden\n-->b") == "## Install\nb"


@given(st.lists(st.sampled_from(["!!! a", '=== "t"', "    x", "```", "", "y", "        z"])))
def test_nothing_is_lost(lines: list[str]) -> None:
    text = "\n".join(lines)
    assert plain(text).count("y") == text.count("y")
    assert plain(text).count("z") == text.count("z")
