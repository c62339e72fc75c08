"""What agents find, read and list; the real server and the SDK's client, in one process."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp.types import CallToolResult, TextContent, TextResourceContents

from core.errors import AskdocsError
from gateway.access.keys import Key
from gateway.answering.grounding.ground import Grounding
from gateway.api.agents import llms, tools
from gateway.api.agents.mcp_server import ANYBODY, reach
from gateway.api.agents.pages import EXCERPT, LIMIT, Pages
from gateway.api.agents.results import DocsAnswer
from gateway.http.asgi import ApiError
from gateway.settings import Alias
from gateway.upstream.engine import CHARACTERS_PER_TOKEN, estimates
from research.studies.injections import INJECTIONS
from tests.gateway.conftest import page
from wiki.index.index import Index, writing

KEYS = """# Keys

Keys open the API. They are secret.

## Rotation

Run the rotate command. See [limits](../limits/).

### After a leak

The old secret ends at once.

## Expiry

A key ends on its day.
"""
LIMITS = "# Limits\n\nA key may ask sixty times a minute.\n"
# What would end a turn of the conversation, for some model.
LEAVING = re.compile(r"<[|｜]|\[/?INST\]|<(start|end)_of_turn>|</?s>")
Indexed = Callable[..., Index]


class Desk:
    """Serves pages of an index; questions need a model, and there is none."""

    def __init__(self, index: Index, sources: tuple[str, ...] = ()) -> None:
        self._pages = Pages(Grounding(index, estimates), sources)

    async def pages(self, purpose: str) -> Pages:
        return self._pages

    async def ask(self, question: str, tell: tools.Tell) -> DocsAnswer:
        raise ApiError(503, "the engine is starting or unavailable; try again in a few seconds")


def client(index: Index, *sources: str) -> Client:
    desk = Desk(index, sources)
    return Client(tools.server(lambda _: desk))


def said(result: CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


@pytest.fixture
def index(indexed: Indexed) -> Index:
    return indexed(keys=KEYS, limits=LIMITS, guide__index="# The guide\n\nHow to begin.\n")


async def test_tools_are_described_for_models_and_change_nothing(index: Index) -> None:
    async with client(index) as agent:
        found = (await agent.list_tools()).tools
    assert [tool.name for tool in found] == ["search_docs", "read_page", "ask_docs"]
    for tool in found:
        assert tool.description is not None
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint
        assert tool.output_schema is not None
        every = [*tool.input_schema["properties"].values()]
        assert all(field["description"] for field in every)


async def test_a_search_tells_the_section_its_address_and_its_words(index: Index) -> None:
    async with client(index) as agent:
        result = await agent.call_tool("search_docs", {"query": "rotate a key", "limit": 2})
    first, second = result.structured_content["results"]
    assert first["title"] == "Keys"
    assert first["section"] == "Rotation"
    assert first["url"] == "https://wiki.example.com/keys/#rotation"
    # A link leads on from anywhere.
    assert first["excerpt"].endswith("See [limits](https://wiki.example.com/limits/).")
    assert first["score"] > second["score"]
    assert said(result).index(first["url"]) < said(result).index("Run the rotate command.")


async def test_a_search_without_a_match_says_what_to_do(index: Index) -> None:
    async with client(index) as agent:
        result = await agent.call_tool("search_docs", {"query": "zeppelin"})
    assert result.structured_content == {"results": []}
    assert "try other words" in said(result)


@pytest.mark.parametrize("long", ["word " * 2000, "| a | b |\n|---|---|\n" + "| c | d |\n" * 900])
async def test_an_excerpt_is_short(long: str, indexed: Indexed) -> None:
    async with client(indexed(long=f"# Tables\n\n{long}")) as agent:
        result = await agent.call_tool("search_docs", {"query": "tables word"})
    (found,) = result.structured_content["results"]
    assert 0 < len(found["excerpt"]) <= EXCERPT


@pytest.mark.parametrize(
    "name", ["https://wiki.example.com/keys/", "https://wiki.example.com/keys?a=1", "keys.md"]
)
async def test_a_page_is_read_by_its_address_or_path(name: str, index: Index) -> None:
    async with client(index) as agent:
        result = await agent.call_tool("read_page", {"page": name})
    read = result.structured_content
    assert read["title"] == "Keys"
    assert read["url"] == "https://wiki.example.com/keys/"
    assert read["markdown"] == KEYS.strip().replace(
        "(../limits/)", "(https://wiki.example.com/limits/)"
    )
    assert (read["part"], read["parts"], read["sections"]) == (1, 1, [])
    assert read["tokens"] == len(read["markdown"]) // CHARACTERS_PER_TOKEN + 1
    assert said(result).startswith('<page title="Keys" url="https://wiki.example.com/keys/">\n# K')


@pytest.mark.parametrize(
    "arguments",
    [
        {"page": "https://wiki.example.com/keys/#rotation"},
        {"page": "keys.md", "section": "Rotation"},
        {"page": "keys.md", "section": "#rotation"},
        {"page": "keys.md#expiry", "section": "ROTATION"},
    ],
)
async def test_a_section_is_read_with_those_below_it(
    arguments: dict[str, str], index: Index
) -> None:
    async with client(index) as agent:
        read = (await agent.call_tool("read_page", arguments)).structured_content
    assert read["section"] == "Rotation"
    assert read["url"] == "https://wiki.example.com/keys/#rotation"
    assert read["markdown"].startswith("## Rotation")
    assert "### After a leak" in read["markdown"]
    assert "Expiry" not in read["markdown"]


async def test_a_long_page_comes_in_parts_of_whole_sections(indexed: Indexed) -> None:
    sections = [f"## Part {n}\n\n{f'sentence {n} says so. ' * 300}".strip() for n in range(12)]
    text = "# Long\n\n" + "\n\n".join(sections)
    parts = []
    async with client(indexed(long=text)) as agent:
        first = await agent.call_tool("read_page", {"page": "long.md"})
        for number in range(1, first.structured_content["parts"] + 1):
            result = await agent.call_tool("read_page", {"page": "long.md", "part": number})
            parts.append(result.structured_content)
        beyond = await agent.call_tool("read_page", {"page": "long.md", "part": len(parts) + 1})
    assert len(parts) > 2
    assert "\n\n".join(part["markdown"] for part in parts) == text
    assert all(part["tokens"] <= part["max_tokens"] == LIMIT for part in parts)
    assert all(part["markdown"].startswith("#") for part in parts)
    assert f"part 1 of {len(parts)}" in said(first)
    assert "part=2" in said(first)
    assert "- Part 11" in said(first)
    assert first.structured_content["sections"] == [f"Part {n}" for n in range(12)]
    assert beyond.is_error
    assert f"the last part is {len(parts)}" in said(beyond)


async def test_a_section_longer_than_a_part_is_cut_between_its_blocks(indexed: Indexed) -> None:
    rows = "".join(f"| {n} | value {n} |\n" for n in range(4000))
    text = f"# Table\n\n## Values\n\n| n | value |\n|---|---|\n{rows}"
    parts = []
    async with client(indexed(table=text)) as agent:
        while not parts or len(parts) < parts[0]["parts"]:
            wanted = {"page": "table.md", "section": "values", "part": len(parts) + 1}
            parts.append((await agent.call_tool("read_page", wanted)).structured_content)
    shown = "\n".join(part["markdown"] for part in parts)
    assert len(parts) > 1
    assert re.findall(r"^\| (\d+) \|", shown, re.M) == [str(n) for n in range(4000)]
    assert all("| n | value |" in part["markdown"] for part in parts)
    assert all(part["tokens"] <= LIMIT for part in parts)


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("read_page", {"page": "kays.md"}, "'kays.md': no page has this address or path: find"),
        ("read_page", {"page": "http://["}, "'http://[': no page has"),
        ("read_page", {"page": "docs://nowhere/keys.md"}, "no page has"),
        ("read_page", {"page": "keys.md", "section": "X"}, "'X': the page has no such section"),
        (
            "read_page",
            {"page": "keys.md", "section": "X"},
            "one of: <page>Rotation, Rotation › After a leak, Expiry</page>",
        ),
        ("read_page", {}, "page: Field required"),
        ("search_docs", {"query": "a", "limit": 99}, "limit: Input should be less than or equal"),
        ("search_docs", {"query": " "}, "query: String should match pattern"),
        ("search_docs", {"query": "a", "count": 3}, "count: Extra inputs are not permitted"),
        ("ask_docs", {"question": "Why?"}, "the engine is starting or unavailable"),
    ],
)
async def test_a_mistake_is_told_to_the_model_with_its_fix(
    tool: str, arguments: dict[str, object], says: str, index: Index
) -> None:
    async with client(index) as agent:
        result = await agent.call_tool(tool, arguments)
    assert result.is_error
    assert says in said(result)
    assert "\n" not in said(result)


async def test_an_unknown_tool_is_an_error_that_names_the_tools(index: Index) -> None:
    async with client(index) as agent:
        with pytest.raises(MCPError, match="'find' is not a tool; the tools are search_docs, read"):
            await agent.call_tool("find", {})


async def test_no_page_leaves_its_marks(indexed: Indexed) -> None:
    pages = {f"page{number}": one.page for number, one in enumerate(INJECTIONS)}
    shown = []
    opened = indexed(**pages)
    async with client(opened) as agent:
        for name, text in pages.items():
            for result in (
                await agent.call_tool("read_page", {"page": f"{name}.md"}),
                await agent.call_tool("read_page", {"page": f"{name}.md", "section": "?"}),
                await agent.call_tool("search_docs", {"query": text[:200]}),
            ):
                shown.append(said(result))
                assert not LEAVING.search(json.dumps(result.structured_content))
    for text in [*shown, "".join(llms.whole(opened)).partition("\n")[2]]:
        assert len(re.findall(r"</\s*page", text, re.I)) == len(re.findall(r"<page\b", text, re.M))
        assert not LEAVING.search(text)


async def test_pages_are_resources_listed_a_few_at_a_time(indexed: Indexed) -> None:
    texts = {f"p{number:03}": f"# Page {number}\n\nText.\n" for number in range(250)}
    listed, cursor, asked = [], None, 0
    async with client(indexed(**texts)) as agent:
        while cursor or not asked:
            page = await agent.list_resources(cursor=cursor)
            listed, cursor, asked = [*listed, *page.resources], page.next_cursor, asked + 1
        (content,) = (await agent.read_resource(listed[7].uri)).contents
        with pytest.raises(MCPError, match="'x' is not a cursor of this list"):
            await agent.list_resources(cursor="x")
        with pytest.raises(MCPError, match="no page has this address"):
            await agent.read_resource("docs://x/y.md")
    assert [one.name for one in listed] == [f"{name}.md" for name in texts]
    assert asked == 3
    assert listed[7].title == "Page 7"
    assert isinstance(content, TextResourceContents)
    assert content.mime_type == "text/markdown"
    assert "Page 7" in content.text


@pytest.fixture
def two(indexed: Indexed) -> Index:
    """An index of two wikis that both have a page of one path."""
    opened = indexed()
    with writing(opened.file) as writer:
        writer.put("eng", page("leave.md", "# Leave\n\nLeave the branch.\n"), "")
        writer.put("eng", page("code.md", "# Code\n\nTabs.\n"), "")
        hr = page("leave.md", "# Leave\n\nThirty days.\n")
        writer.put(
            "hr", type(hr)(hr.path, hr.title, "https://hr.example.com/leave/", hr.sections), ""
        )
    return opened


async def test_only_the_pages_of_ones_own_wikis_are_there(two: Index) -> None:
    async with client(two, "hr") as agent:
        found = await agent.call_tool("search_docs", {"query": "leave code tabs"})
        read = await agent.call_tool("read_page", {"page": "leave.md"})
        listed = (await agent.list_resources()).resources
        hidden = [
            await agent.call_tool("read_page", {"page": name})
            for name in ("code.md", "https://wiki.example.com/code/")
        ]
    async with client(two) as agent:
        (other,) = [r for r in (await agent.list_resources()).resources if r.name == "code.md"]
    async with client(two, "hr") as agent:
        hidden.append(await agent.call_tool("read_page", {"page": other.uri}))
    urls = [one["url"] for one in found.structured_content["results"]]
    assert urls == ["https://hr.example.com/leave/#leave"]
    assert "Thirty days." in said(read)
    assert [one.name for one in listed] == ["leave.md"]
    assert all(result.is_error for result in hidden)


def key(*models: str) -> Key:
    return Key("k", "k", "", datetime.now(UTC), models=models)


def test_a_key_reaches_the_wikis_of_the_aliases_that_it_may_use() -> None:
    def grounded(*sources: str) -> Alias:
        return Alias(targets={"base": 1}, grounding=True, sources=sources)

    aliases = {"plain": Alias(targets={"base": 1}), "hr": grounded("hr"), "it": grounded("it")}
    assert reach(key(), aliases) == ("hr", ("hr", "it"))
    assert reach(key("base", "it"), aliases) == ("it", ("it",))
    assert reach(key("it", "docs"), {**aliases, "docs": grounded()}) == ("docs", ())
    assert reach(ANYBODY, {**aliases, "docs": grounded("eng")}) == ("docs", ("eng",))
    with pytest.raises(ApiError, match=r"may use base, plain, which do not .* --models docs"):
        reach(key("base", "plain"), aliases)


def test_llms_txt_lists_pages_with_a_line_about_each_by_folders(indexed: Indexed) -> None:
    opened = indexed(
        index="# Acme `handbook`\n\nHow **we** work. More of it.\n",
        zoo="# Zoo [old]\n\n![a picture](z.png)\n\n- list\n\n## Animals\n\nSee [them](x.md)! Now.",
        a__README="# Teams\n\n" + "long " * 60,
        a__b__deep="# Deep\n\n```\ncode\n```\n",
        my_API__page="# Page\n\nText.\n",
    )
    assert "".join(llms.overview(opened)).splitlines() == [
        "# Acme handbook",
        "",
        "> How we work.",
        "",
        "The text of all pages in one file: [llms-full.txt](llms-full.txt)",
        "",
        "## Pages",
        "",
        "- [Acme handbook](https://wiki.example.com/): How we work.",
        "- [Zoo \\[old\\]](https://wiki.example.com/zoo/): See them!",
        "",
        "## Teams",
        "",
        f"- [Teams](https://wiki.example.com/a/): {'long ' * 30}long…",
        "- [Deep](https://wiki.example.com/a/b/deep/)",
        "",
        "## my API",
        "",
        "- [Page](https://wiki.example.com/my_API/page/): Text.",
    ]


def test_llms_full_txt_has_every_page_once_and_only_those_of_the_sources(two: Index) -> None:
    text = "".join(llms.whole(two, ("eng",)))
    assert re.findall(r'^<page title="(\w+)"', text, re.M) == ["Code", "Leave"]
    assert "Thirty days." not in text
    both = "".join(llms.overview(two))
    assert re.findall(r"^#+ (.*)", both, re.M) == ["eng, hr", "eng: Pages", "hr: Pages"]


def test_a_folder_is_one_section_whatever_lies_between_in_the_alphabet(indexed: Indexed) -> None:
    many = {f"a__{number:03}": f"# A {number}\n" for number in range(llms.BATCH + 5)}
    opened = indexed(**many, a="# Above\n", ab__c="# C\n", b="# B\n")
    text = "".join(llms.overview(opened))
    assert re.findall(r"^## (.*)", text, re.M) == ["Pages", "A", "Ab"]
    assert text.count("\n- [") == len(many) + 3


def test_an_index_without_pages_has_an_llms_txt(indexed: Indexed) -> None:
    assert "".join(llms.overview(indexed())).startswith("# Documentation\n")


def test_a_part_beyond_the_last_is_refused(index: Index) -> None:
    with pytest.raises(AskdocsError, match="part 2: the last part is 1"):
        Pages(Grounding(index, estimates)).read("limits.md", part=2)
