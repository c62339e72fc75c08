"""Notion, on a server that speaks the vendor's wire format."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from core.errors import AskdocsError
from tests.sources.damage import damage
from tests.sources.notion_server import (
    DATABASE,
    SOURCE,
    Workspace,
    Written,
    at,
    block,
    dashed,
    notion,
    paragraph,
    row,
    text,
)
from wiki.index.index import Index, writing
from wiki.pages.page import Page
from wiki.sources import sync
from wiki.sources.services import notion as notion_module
from wiki.sources.services import notion_blocks
from wiki.sources.services.addresses import NotionAddress
from wiki.sources.services.api import Api
from wiki.sources.services.notion import VERSION, Notion
from wiki.sources.source import Broken, Changed, Expected, Item, LeftOut, Unchanged
from wiki.sources.spec import Spec
from wiki.sources.tokens import Token

SPEC = {"kind": "notion", "site_url": ""}


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    with notion() as made:
        made.pages = {at(n): Written(f"Page {n}") for n in range(1, 6)}
        yield made


def source(workspace: Workspace, place: str = "/") -> Notion:
    return Notion(f"{workspace.url}{place}", Token("", "ntn_s3cret"), 1000)


def read(workspace: Workspace, known: dict[str, str] | None = None, place: str = "/") -> list[Item]:
    return list(source(workspace, place).read(known or {}))


def stamps(items: list[Item]) -> dict[str, str]:
    return {item.page.path: item.stamp for item in items if isinstance(item, Changed)}


def pages(items: list[Item]) -> dict[str, Page]:
    return {item.page.path: item.page for item in items if isinstance(item, Changed)}


def broken(items: list[Item]) -> dict[str, str]:
    return {item.path: item.why for item in items if isinstance(item, Broken)}


def path(*ids: str) -> str:
    return "".join(f"{one}/" for one in ids)


def below(number: int) -> dict[str, Any]:
    return {"type": "page_id", "page_id": dashed(at(number))}


def shown(workspace: Workspace, *blocks: Any) -> Page:
    workspace.pages = {at(1): Written("Set up", list(blocks))}
    return pages(read(workspace))[path(at(1))]


def test_pages_are_read_with_their_addresses_anchors_token_and_version(
    workspace: Workspace,
) -> None:
    workspace.pages[at(1)].blocks = [
        paragraph("Above."),
        block("heading_2", 77, rich_text=[text("First run")], is_toggleable=False),
        paragraph("Turn it on."),
    ]
    items = read(workspace)
    assert items[0] == Expected(5)
    found = pages(items)
    assert set(found) == {path(at(n)) for n in range(1, 6)}
    page = found[path(at(1))]
    assert page.title == "Page 1"
    assert page.url == f"https://www.notion.so/Page-1-{at(1)}"
    assert page.sections[-1].heading == "First run"
    assert page.section_url(page.sections[-1]) == f"{page.url}#{at(77)}"
    assert set(workspace.headers) == {("Bearer ntn_s3cret", VERSION)}


def test_only_changed_pages_are_read_again_and_deleted_ones_are_gone(workspace: Workspace) -> None:
    known = stamps(read(workspace))
    workspace.asked.clear()
    workspace.pages[at(2)].edited = "2026-05-02T08:00:00.000Z"
    workspace.pages[at(4)].in_trash = True
    del workspace.pages[at(5)]
    items = read(workspace, known)
    assert list(stamps(items)) == [path(at(2))]
    assert len([item for item in items if isinstance(item, Unchanged)]) == 2
    assert at(4) not in str(items)
    assert at(5) not in str(items)
    assert [path for path in workspace.asked if "blocks" in path] == [
        f"/v1/blocks/{at(2)}/children"
    ]


def test_a_page_that_was_read_within_its_minute_is_read_again_later(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Notion cuts the time of the last edit to minutes."""
    workspace.pages[at(1)].edited = datetime.now(UTC).isoformat()
    known = stamps(read(workspace))
    monkeypatch.setattr(notion_module, "_SETTLED", timedelta(0))
    assert list(stamps(read(workspace, known))) == [path(at(1))]
    settled = {**known, **stamps(read(workspace, known))}
    assert stamps(read(workspace, settled)) == {}


def test_paths_name_the_pages_above_so_that_a_rule_closes_all_below(workspace: Workspace) -> None:
    workspace.pages[at(2)].parent = below(1)
    workspace.pages[at(3)].parent = {"type": "block_id", "block_id": dashed(at(77))}
    workspace.pages[at(2)].blocks = [block("column_list", 77, [])]
    assert path(at(1), at(2), at(3)) in stamps(read(workspace))
    workspace.hidden = {at(1), at(2)}  # search does not find them today
    assert path(at(1), at(2), at(3)) in stamps(read(workspace))


@pytest.mark.parametrize(("status", "why"), [(404, {}), (403, {"the page above it answers 403"})])
def test_a_page_stays_in_its_place_while_the_pages_above_it_are_not_told(
    workspace: Workspace, status: int, why: set[str]
) -> None:
    """It would leave the rules for them."""
    workspace.pages[at(1)].blocks = [block("column_list", 77, [])]
    workspace.pages[at(3)].parent = {"type": "block_id", "block_id": dashed(at(77))}
    known = stamps(read(workspace))
    workspace.failing = {f"/v1/blocks/{at(77)}": status}
    items = read(workspace, known)
    assert set(broken(items).values()) == set(why)
    assert not stamps(items)
    assert path(at(1), at(3)) in {
        item.path for item in items if isinstance(item, Unchanged | Broken)
    }


def test_a_page_below_too_many_stays_in_its_place(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the outermost pages in its path it would leave their rules."""
    for number in range(2, 6):
        workspace.pages[at(number)].parent = below(number - 1)
    workspace.database, workspace.held = "Services", at(5)
    known = stamps(read(workspace))
    places = [path(*map(at, range(1, n + 1))) for n in range(1, 6)]
    database = path(*map(at, range(1, 6)), DATABASE)
    assert set(known) == {*places, database}
    monkeypatch.setattr(notion_module, "_DEEPEST", 3)
    items = read(workspace, known)
    assert [item for item in items if isinstance(item, Unchanged)] == [
        Unchanged(place) for place in places[:4]
    ]
    why = "the page above it is nested too deeply"
    assert broken(items) == {places[4]: why, database: why}
    assert not stamps(items)


def test_a_page_is_read_with_all_below_it_and_nothing_else(workspace: Workspace) -> None:
    workspace.pages[at(2)].parent = below(1)
    workspace.hidden = {at(1)}
    items = read(workspace, place=f"/team/Handbook-{at(1)}?pvs=4")
    assert set(stamps(items)) == {path(at(1)), path(at(1), at(2))}
    assert items[0] == Expected(2)


def test_pages_that_search_does_not_find_are_followed(workspace: Workspace) -> None:
    workspace.pages[at(2)].parent = below(1)
    workspace.pages[at(1)].blocks = [paragraph("See"), block("child_page", 2, [], title="Page 2")]
    workspace.database, workspace.held = "Services", at(2)
    workspace.pages[at(2)].blocks = [block("child_database", int(DATABASE, 16), title="Services")]
    workspace.pages[at(6)] = row("Billing", [paragraph("Ask Ada.")])
    workspace.hidden = {at(2), at(6), DATABASE}
    items = read(workspace)
    base = path(at(1), at(2), DATABASE)
    assert {path(at(1), at(2)), base, base + path(at(6))} <= set(stamps(items))


def test_a_known_page_that_search_lacks_is_asked_for_before_it_counts_as_deleted(
    workspace: Workspace,
) -> None:
    known = stamps(read(workspace))
    workspace.hidden = {at(3), at(4), at(5)}
    workspace.failing = {f"/v1/pages/{at(4)}": 403}
    del workspace.pages[at(5)]
    items = read(workspace, known)
    assert Unchanged(path(at(3))) in items
    assert broken(items) == {path(at(4)): "answers 403"}
    assert at(5) not in str(items)


def test_a_child_that_was_refused_is_asked_for_again(workspace: Workspace) -> None:
    """Search does not find it, and the page that holds it is as it was."""
    workspace.pages[at(2)].parent = below(1)
    workspace.pages[at(1)].blocks = [block("child_page", 2, [], title="Page 2")]
    workspace.hidden = {at(2)}
    workspace.failing = {f"/v1/pages/{at(2)}": 403}
    items = read(workspace)
    assert broken(items) == {path(at(1), at(2)): "answers 403"}
    known = stamps(items)
    workspace.failing.clear()
    assert set(stamps(read(workspace, known))) == {path(at(1)), path(at(1), at(2))}


def test_a_database_is_a_page_with_its_rows_as_a_table(workspace: Workspace) -> None:
    workspace.database, workspace.held = "Services", at(1)
    workspace.pages[at(6)] = row(
        "Billing",
        [paragraph("Call Ada before you restart it.")],
        Status={"type": "status", "status": {"name": "Live"}},
        Owner={"type": "people", "people": [{"object": "user", "id": "u", "name": "Ada"}]},
        Port={"type": "number", "number": 8080},
        Needs={"type": "relation", "relation": [{"id": dashed(at(7))}], "has_more": False},
        Tags={"type": "multi_select", "multi_select": [{"name": "eu"}, {"name": "us | x"}]},
        Since={"type": "date", "date": {"start": "2026-01-01", "end": None}},
        Key={"type": "unique_id", "unique_id": {"prefix": "SVC", "number": 4}},
        Cost={"type": "formula", "formula": {"type": "number", "number": 2.5}},
        Paid={"type": "checkbox", "checkbox": True},
        Edited={"type": "last_edited_time", "last_edited_time": "2026-05-01T10:00:00.000Z"},
    )
    workspace.pages[at(7)] = row("Mail", Port={"type": "number", "number": 25})
    found = pages(read(workspace))
    table = found[path(at(1), DATABASE)]
    assert table.title == "Services"
    assert "All that runs." in table.text
    assert "| Name | Status | Owner | Port | Needs |" in table.text
    assert (
        "| Live | Ada | 8080 | Mail | eu, us \\| x | 2026-01-01 | SVC-4 | 2.5 | yes |" in table.text
    )
    assert f"[Mail](Mail-{at(7)})" in table.text  # from the address of the database
    billing = found[path(at(1), DATABASE, at(6))]
    assert "**Owner**: Ada" in billing.text
    assert "Call Ada before you restart it." in billing.text
    assert "Edited" not in billing.text


def test_a_changed_row_changes_its_database(workspace: Workspace) -> None:
    workspace.database = "Services"
    workspace.pages[at(6)] = row("Billing", Port={"type": "number", "number": 8080})
    known = stamps(read(workspace))
    assert stamps(read(workspace, known)) == {}
    workspace.pages[at(6)].properties["Port"]["number"] = 9090
    workspace.pages[at(6)].edited = "2026-05-03T08:00:00.000Z"
    assert set(stamps(read(workspace, known))) == {path(DATABASE), path(DATABASE, at(6))}


def test_rows_beyond_what_one_query_gives_are_read(workspace: Workspace) -> None:
    workspace.database, workspace.capped = "Services", 3
    workspace.pages = {
        at(n): row(f"Row {n}", Port={"type": "number", "number": n}) for n in range(10, 18)
    }
    workspace.hidden = set(workspace.pages)
    assert len(stamps(read(workspace))) == 9
    workspace.capped = 1  # as if all were made in one minute
    assert "only part of the rows" in broken(read(workspace))[path(DATABASE)]


def test_every_kind_of_block_is_what_readers_see_of_it(workspace: Workspace) -> None:
    cells = [[[text("Port")], [text("Use")]], [[text("80")], [text("a | b")]]]
    page = shown(
        workspace,
        block("heading_1", 30, [paragraph("In the toggle heading", 31)], rich_text=[text("Top")]),
        block("heading_3", 32, rich_text=[text("Deep "), text("code", code=True)]),
        block(
            "bulleted_list_item",
            33,
            [block("numbered_list_item", 34, rich_text=[text("inner")])],
            rich_text=[text("outer")],
        ),
        block("to_do", 35, rich_text=[text("done")], checked=True),
        block("to_do", 36, rich_text=[text("open")], checked=False),
        block("toggle", 37, [paragraph("folded", 38)], rich_text=[text("Unfold")]),
        block("quote", 39, rich_text=[text("said")]),
        block("callout", 40, [paragraph("more", 41)], rich_text=[text("Mind")], icon=None),
        block(
            "code",
            42,
            rich_text=[text("if a > b:\n    f(`x`)")],
            language="python",
            caption=[text("an example")],
        ),
        block("equation", 43, expression="e = mc^2"),
        block("paragraph", 44, rich_text=[
            text("bold", bold=True), text(" and "),
            {"type": "equation", "equation": {"expression": "a_1"}, "plain_text": "a_1",
             "href": None, "annotations": {}},
            text(" see "), text("that page", href=f"/{at(5)}"),
            text("bad", href="javascript:alert(1)"),
        ]),
        block(
            "table",
            45,
            [block("table_row", 46 + n, cells=one) for n, one in enumerate(cells)],
            table_width=2,
            has_column_header=True,
            has_row_header=False,
        ),
        block("bookmark", 50, url="https://example.com/x", caption=[]),
        block("image", 51, type="file", file={"url": "https://s3.example/x?X-Amz-Signature=k"},
              caption=[text("The front panel")]),
        block("pdf", 52, type="external", external={"url": "https://example.com/a.pdf"}),
        block("column_list", 53, [block("column", 54, [paragraph("in a column", 55)])]),
        block("synced_block", 56, [paragraph("synced", 57)], synced_from=None),
        block("child_page", 58, [], title="A page below"),
        block("table_of_contents", 59, color="default"),
        block("divider", 60),
        block("breadcrumb", 61),
    )  # fmt: skip
    top, deep = page.sections[-2:]
    assert [top.heading, top.anchor, deep.heading, deep.anchor] == [
        *("Top", at(30)),
        *("Deep code", at(32)),
    ]
    assert deep.path == ("Top", "Deep code")
    assert "In the toggle heading" in top.text
    for part in (
        "- outer\n  1. inner",
        "[x] done",
        "[ ] open",
        "**Unfold**\n\nfolded",
        "> said",
        "> Mind",
        "> more",
        "```python\nif a > b:\n    f(`x`)\n```",
        "an example",
        "e = mc^2",
        "**bold** and `a_1` see [that page]",
        "| Port | Use |",
        "| 80 | a \\| b |",
        "<https://example.com/x>",
        "The front panel",
        "<https://example.com/a.pdf>",
        "in a column",
        "synced",
        "[A page below]",
    ):
        assert part in deep.text.replace("\\[", "[").replace("\\]", "]"), part
    assert "javascript" not in page.text
    assert "Signature" not in page.text


def test_blocks_that_the_api_does_not_give_are_named(workspace: Workspace) -> None:
    form = block("unsupported", 31, block_type="form")
    new = block("hologram", 32, [paragraph("its text", 33)], rich_text=[text("new kind")])
    workspace.pages = {at(1): Written("Set up", [paragraph("Text."), form, new])}
    items = read(workspace)
    why = "blocks that Notion's API does not return: "
    assert LeftOut(f"{at(1)}/#form", why + "form") in items
    assert LeftOut(f"{at(1)}/#hologram", why + "hologram") in items
    assert "new kind\n\nits text" in pages(items)[path(at(1))].text


@pytest.mark.parametrize("gone", [31, 33])
def test_a_synced_block_whose_original_is_gone_is_named(workspace: Workspace, gone: int) -> None:
    of = {"type": "block_id", "block_id": dashed(at(99))}
    inner = block("bulleted_list_item", 33, [paragraph("folded", 34)], rich_text=[text("half")])
    blocks = [paragraph("Above."), block("synced_block", 31, [inner], synced_from=of)]
    workspace.pages = {at(1): Written("Set up", [*blocks, paragraph("Below.")])}
    workspace.failing = {f"/v1/blocks/{at(gone)}/children": 404}
    items = read(workspace)
    assert pages(items)[path(at(1))].sections[0].body == "Above.\n\nBelow."
    why = "blocks that Notion's API does not return: synced_block"
    assert LeftOut(f"{at(1)}/#synced_block", why) in items
    workspace.failing = {f"/v1/blocks/{at(gone)}/children": 403}
    assert broken(read(workspace)) == {path(at(1)): "answers 403"}


def test_text_begins_no_section_and_ends_no_fence(workspace: Workspace) -> None:
    page = shown(
        workspace,
        paragraph("<script>alert(1)</script> <h1 id=x>No</h1> # no heading\n## nor this"),
        block("code", 31, rich_text=[text("a\n```\n# out")], language="py\n```\n# out"),
    )
    assert [section.heading for section in page.sections] == ["Set up"]
    assert page.sections[0].anchor == ""
    assert "````" in page.text


def test_a_page_that_is_refused_stays_as_it_was_and_the_others_are_read(
    workspace: Workspace,
) -> None:
    for number, status in ((2, 403), (3, 404)):
        workspace.pages[at(number)].refused = status
    items = read(workspace)
    assert broken(items) == {path(at(2)): "answers 403", path(at(3)): "answers 404"}
    assert len(stamps(items)) == 3


def test_a_database_that_is_refused_loses_no_row(workspace: Workspace) -> None:
    workspace.database = "Services"
    workspace.pages[at(6)] = row("Billing", [paragraph("Ask Ada.")])
    known = stamps(read(workspace))
    workspace.hidden = {at(6)}
    workspace.failing = {f"/v1/databases/{DATABASE}": 403}
    items = read(workspace, known)
    assert broken(items) == {path(DATABASE): "answers 403"}
    assert Unchanged(path(DATABASE, at(6))) in items


@pytest.mark.parametrize("status", [403, 404])
def test_a_database_whose_rows_are_refused_stays_and_the_pages_are_read(
    workspace: Workspace, status: int
) -> None:
    workspace.database = "Services"
    workspace.pages[at(6)] = row("Billing", [paragraph("Ask Ada.")])
    known = stamps(read(workspace))
    workspace.hidden = {at(6)}
    workspace.failing = {f"/v1/data_sources/{SOURCE}/query": status}
    items = read(workspace, known)
    assert broken(items) == {path(DATABASE): f"the list of its rows answers {status}"}
    assert Unchanged(path(at(1))) in items
    assert Unchanged(path(DATABASE, at(6))) in items


def test_a_page_may_name_a_page_as_the_block_that_holds_it(workspace: Workspace) -> None:
    workspace.pages[at(3)].parent = {"type": "block_id", "block_id": dashed(at(1))}
    assert at(3) in str(stamps(read(workspace)))


@pytest.mark.parametrize("busy", [429, 529])
def test_a_busy_service_is_waited_for_as_long_as_it_says(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, busy: int
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("wiki.sources.fetch.time.sleep", slept.append)
    workspace.fail = [None, (busy, {"Retry-After": "7"}), 503, "truncated"]
    assert len(stamps(read(workspace))) == 5
    assert max(slept) > 6


@pytest.mark.parametrize(
    "failure", [401, (307, {"location": "https://evil.example/v1/search"}), 500, "truncated"]
)
def test_a_list_that_cannot_be_read_whole_ends_the_sync(workspace: Workspace, failure: Any) -> None:
    known = stamps(read(workspace))
    workspace.failing = {"/v1/search": failure}
    with pytest.raises(AskdocsError) as error:
        read(workspace, known)
    assert "s3cret" not in str(error.value)


def test_lists_without_an_end_are_given_up(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notion_module, "_MOST", 20)
    monkeypatch.setattr(notion_module, "_MOST_OF_PAGE", 20)
    workspace.endless = True
    with pytest.raises(AskdocsError, match="has no end"):
        read(workspace)
    document = notion_blocks.Document("x", lambda held: source(workspace)._children(api, held))
    api = Api(workspace.url, Token("", "x"), 1000)
    with pytest.raises(ValueError, match="has no end"):
        document.hold(at(1))
    api.close()


def test_each_table_counts_as_a_block_with_others_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rows are a request of their own."""
    monkeypatch.setattr(notion_blocks, "_HOLDERS", 20)
    asked: list[str] = []

    def children(held: str) -> list[Any]:
        asked.append(held)
        return [block("table", 1, table_width=1)] * 100 if held == "page" else []

    with pytest.raises(ValueError, match="with others in them"):
        notion_blocks.Document("x", children).hold("page")
    assert len(asked) == 20


def test_a_carriage_return_begins_no_heading() -> None:
    shown = notion_blocks.rich([text("x\r## No")])
    assert "<br>" in shown
    assert "\r" not in shown


def test_a_page_beyond_the_limits_is_reported(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notion_blocks, "_BLOCKS", 3)
    monkeypatch.setattr(notion_blocks, "LARGEST", 5_000)
    monkeypatch.setattr(notion_blocks, "_DEPTH", 3)
    nested = paragraph("deepest")
    for number in range(100, 106):
        nested = block("toggle", number, [nested], rich_text=[])
    workspace.pages[at(1)].blocks = [paragraph("x", n) for n in range(20, 25)]
    workspace.pages[at(2)].blocks = [paragraph("x" * 9_000)]
    workspace.pages[at(3)].blocks = [nested]
    assert set(broken(read(workspace))) == {path(at(1)), path(at(2)), path(at(3))}


def test_what_was_read_before_a_token_expired_is_kept_and_not_read_twice(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync, "BATCH", 2)
    opened = partial(writing, tmp_path / "index.db")
    workspace.until = 7  # within the blocks
    with pytest.raises(AskdocsError, match="refuses the token"):
        sync.sync(source(workspace), opened, spec=SPEC)
    index = Index(tmp_path / "index.db")
    kept = index.size
    assert 0 < kept < 5
    workspace.until = None
    done = sync.sync(source(workspace), opened, spec=SPEC)
    assert (done.unchanged, len(done.added), done.removed) == (kept, 5 - kept, ())
    del workspace.pages[at(1)]
    assert sync.sync(source(workspace), opened, spec=SPEC).removed == (path(at(1)),)
    assert index.size == 4
    index.close()


@pytest.mark.slow
def test_answers_with_wrong_values_are_reported_and_end_no_process(workspace: Workspace) -> None:
    workspace.database, workspace.held = "Services", at(1)
    workspace.pages[at(6)] = row(
        "Billing", [paragraph("Ask.")], Port={"type": "number", "number": 1}
    )
    cells = [block("table_row", 46, cells=[[text("a")], [text("b")]])]
    workspace.pages[at(2)].blocks = [
        block("table", 45, cells, table_width=2, has_column_header=True),
        block("toggle", 37, [paragraph("folded", 38)], rich_text=[text("Unfold")]),
        block("heading_1", 30, rich_text=[text("Top", bold=True)]),
    ]
    ends: Counter[str] = Counter()
    for seed in range(100):
        workspace.damage = damage(seed)
        try:
            for item in read(workspace):
                ends[type(item).__name__] += 1
        except AskdocsError:
            ends["stopped"] += 1
    assert min(ends["Changed"], ends["Broken"], ends["stopped"]) > 5


def test_a_wrong_connection_is_explained(workspace: Workspace) -> None:
    with pytest.raises(AskdocsError, match="may not read this page"):
        read(workspace, place=f"/x/Gone-{at(99)}")
    workspace.pages.clear()
    with pytest.raises(AskdocsError, match="no page is shared"):
        read(workspace)
    workspace.failing = {"/v1/search": 401}
    with pytest.raises(AskdocsError, match="ASKDOCS_SITES_TOKENS="):
        read(workspace)


@pytest.mark.parametrize(
    ("address", "root"),
    [
        ("https://www.notion.so/", ""),
        ("https://www.notion.so/team", ""),
        (f"https://www.notion.so/team/Set-up-{at(7)}?pvs=4", at(7)),
        (f"https://www.notion.so/{at(7)}", at(7)),
        (f"https://app.notion.com/p/team/Set-up-{at(7)}", at(7)),
        (f"https://www.notion.so/{dashed(at(7))}?v={at(8)}", at(7)),
        (f"https://www.notion.so/team/{at(7)}?v={at(8)}&p={at(9)}&pm=s", at(9)),
        (f"https://team.notion.site/Set-up-{at(7)}", at(7)),
    ],
)
def test_a_page_is_named_by_its_address(address: str, root: str) -> None:
    assert Spec.named(address).kind == "notion"
    assert NotionAddress.parse(address) == ("https://api.notion.com", root)


def test_an_address_without_an_id_is_refused() -> None:
    with pytest.raises(AskdocsError, match="Copy link"):
        Spec.named("https://www.notion.so/team/Set-up")
    assert Spec.named("https://developers.notion.com/reference").kind == "site"


@pytest.mark.slow
def test_the_command_reads_a_workspace_with_the_token_of_its_host(
    workspace: Workspace, tmp_path: Path
) -> None:
    environment = {
        **os.environ,
        "ASKDOCS_HOME": str(tmp_path),
        "ASKDOCS_SITES_TOKENS": f"{workspace.url.split('/')[2]} ntn_s3cret",
        "ASKDOCS_SITES_RATE": "100",
    }
    askdocs = str(Path(sys.executable).with_name("askdocs"))
    command = [askdocs, "docs", "sync", workspace.url, "--kind", "notion", "--json"]
    workspace.pages[at(2)].refused = 403
    for flags in (["--dry-run"], []):
        done = subprocess.run(
            [*command, *flags], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1, done.stderr
        (told,) = json.loads(done.stdout)
        assert len(told["added"]) == 4
