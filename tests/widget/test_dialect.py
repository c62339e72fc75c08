from hypothesis import given
from hypothesis import strategies as st

from widget.text.dialect import plain
from widget.text.markdown import render


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


def test_a_title_and_its_text_may_share_a_line() -> None:
    html = render('!!! warning "Mind the gap" Do not step.', page=True)
    assert "<strong>Mind the gap</strong></p>\n<p>Do not step.</p>\n</blockquote>" in html
    assert "!!!" not in render('x\n\n??? note inline end "T"\n    y', page=True)
    html = render("> [!WARNING]\n> Hot.", page=True)
    assert "<strong>Warning</strong></p>\n<p>Hot.</p>" in html


def test_definitions_are_bold_terms_with_their_text() -> None:
    html = render("Label\n:   A sticker.\n\n    Of paper.\n\n`list`\n: All.\n: Each.", page=True)
    assert html == (
        "<p><strong>Label</strong></p>\n<p>A sticker.</p>\n<p>Of paper.</p>\n"
        "<p><strong><code>list</code></strong></p>\n<p>All.</p>\n<p>Each.</p>\n"
    )


def test_marks_of_extensions_are_not_shown() -> None:
    text = "- [x] Done ==now==.[^1]\n- [ ] ++ctrl+k++\n\n[^1]: C++ `a==b==` x == y"
    html = render(text, page=True)
    assert "<li>☑ Done <strong>now</strong>.[1]</li>\n<li>☐ Ctrl+K</li>" in html
    assert "<p>[1]: C++ <code>a==b==</code> x == y</p>" in html
    assert "[^1]" in render("[^1]")  # a model's own text is shown as it is


def test_rows_of_a_table_without_its_head_are_a_table() -> None:
    html = render("The ports:\n\n| 4000 | the gateway |\n| 8080 | the box |", page=True)
    assert html.count("<tr>") == 3
    assert "|" not in html
    whole = "| a | b |\n|---|---|\n| c | d |\n| e | f |"
    assert plain(whole) == whole


def test_tags_of_pages_are_not_shown_and_placeholders_are() -> None:
    text = '<a id="x"></a>See <span class="y">it</span>.<br/>Run `<a id="z"></a>` with <name>.'
    assert plain(text) == 'See it. Run `<a id="z"></a>` with <name>.'
    # A model's words are its own, but for anchors, which it copies.
    assert plain('<a name="x"></a>The <b> tag', page=False) == "The <b> tag"


def test_tables_and_images_of_html_are_those_of_markdown() -> None:
    table = (
        "<table class='x'>\n<thead><tr><th>Port</th><th>For</th></tr></thead>\n"
        "<tr><td>4000</td><td>the <code>API</code> | <b>MCP</b></td></tr><tr><td>8080</td></tr>"
        "</table>"
    )
    html = render(f"Ports:\n{table}\nEnd <img width=9 src='a.png' alt=\"A [b]\"/>", page=True)
    assert html.count("<tr>") == 3
    assert "<th>Port</th>\n<th>For</th>" in html
    assert "| MCP</td>" in html
    assert html.endswith("<p>End A b</p>\n")  # images are shown where the caller wants them
    assert "&lt;t" not in html
    bare = render("<table><tr><td>a</td></tr></table>", page=True)
    assert bare.count("<tr>") == 2
    code = f"```html\n{table}\n```"
    assert plain(code) == code
    assert plain(table, page=False) == table


def test_components_icons_and_attributes_are_not_shown() -> None:
    text = (
        'Use <Badge type="tip" text="new" /> <X/> <Card a={1}>it</Card> with <NAME>.\n'
        '--8<-- "file.md"\n:material-clock: Fast [link](a.md){:target=_blank} {x}'
    )
    assert plain(text) == "Use   it with <NAME>.\nFast [link](a.md) {x}"


def test_many_lines_are_read_in_linear_time() -> None:
    text = '!!! a "t"\n    ' * 20_000
    assert plain(text).count("t") == 20_000
