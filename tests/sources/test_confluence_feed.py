"""Looks at the feed of a Confluence between two syncs, on servers with the vendor's wire format."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest

from gateway.access.rights import Groups
from gateway.core.errors import AskdocsError
from gateway.knowledge.search.index import Index, writing
from gateway.knowledge.search.writer import Writer
from gateway.knowledge.sources import fetch
from gateway.knowledge.sources.apart import Apart
from gateway.knowledge.sources.excluded import exclude
from gateway.knowledge.sources.services import confluence as connector
from gateway.knowledge.sources.services.confluence import NEWER, Confluence
from gateway.knowledge.sources.source import Changed, State
from gateway.knowledge.sources.sync import look, sync
from gateway.knowledge.sources.synced import Synced
from gateway.knowledge.sources.tokens import Token
from tests.sources import office
from tests.sources.confluence_server import Attached, Wiki, Written, confluence

TEXT = "<h2>First run</h2><p>Turn it on.</p>"
SPEC = {"kind": "confluence", "site_url": ""}
STAFF = frozenset({"staff"})
BOARD = frozenset({"board"})
LIST = "/rest/api/content/search"


class Space:
    """A wiki, and the index that follows it."""

    def __init__(self, wiki: Wiki, index: Path) -> None:
        self.wiki = wiki
        self.file = index
        self.opens = 0
        self._edits = 0

    def opened(self) -> AbstractContextManager[Writer]:
        self.opens += 1
        return writing(self.file)

    @property
    def source(self) -> Confluence:
        return Confluence(f"{self.wiki.url}/spaces/ENG", Token("", "s3cret"), 1000, True, True)

    def sync(self) -> Synced:
        return sync(self.source, self.opened, spec=SPEC)

    def look(self) -> tuple[Synced, list[str]]:
        """The result, and the paths of the requests."""
        self.wiki.asked.clear()
        return look(self.source, self.opened, spec=SPEC), [*self.wiki.asked]

    def edit(self, at: str, body: str, readers: tuple[str, ...] = ()) -> None:
        self._edits += 1
        page = self.wiki.pages.get(at, Written(f"Page {at}", ""))
        version = page.version + 1
        self.wiki.pages[at] = Written(
            page.title, body, version, readers=readers, edited=self._edits
        )

    def text(self, path: str) -> str:
        index = Index(self.file)
        try:
            page = index.by_path(path)
            return page.text if page else ""
        finally:
            index.close()

    def groups(self) -> Mapping[str, Groups | None]:
        with self.opened() as writer:
            return writer.groups(self.source.name)

    @property
    def stored(self) -> tuple[object, ...]:
        """Everything in the index but the texts, and the generation of these."""
        with self.opened() as writer:
            name = self.source.name
            held = writer.sources(), writer.known(name), writer.groups(name)
        index = Index(self.file)
        try:
            return *held, index.generation
        finally:
            index.close()


@pytest.fixture(params=["cloud", "data center"])
def space(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Space]:
    with confluence(request.param == "cloud") as wiki:
        wiki.part = 50
        wiki.pages = {str(n): Written(f"Page {n}", TEXT) for n in range(101, 106)}
        made = Space(wiki, tmp_path / "index.db")
        made.sync()
        yield made


def test_an_edit_is_in_the_index_after_one_look(space: Space) -> None:
    space.edit("103", "<p>Turn it off.</p>")
    space.edit("200", "<p>A new page.</p>")
    done, _ = space.look()
    assert (done.added, done.changed, done.removed) == (("ENG/200",), ("ENG/103",), ())
    assert (done.unchanged, done.pages) == (4, 6)
    assert "Turn it off." in space.text("ENG/103")
    assert "A new page." in space.text("ENG/200")
    after = space.sync()
    assert not after.is_different
    assert after.unchanged == 6


def test_a_quiet_look_is_one_request_and_writes_nothing(space: Space) -> None:
    """Also with a page that cannot be read, one without text, and one that was excluded."""
    space.edit("101", '<ac:structured-macro ac:name="children" />')
    space.edit("102", "<p>Secret.</p>")
    space.wiki.pages["102"].refused = 403
    with space.opened() as writer:
        [stored] = writer.sources()
        exclude(writer, stored, "ENG/105")
    done, asked = space.look()
    assert (done.removed, [file.path for file in done.broken]) == (("ENG/101",), ["ENG/102"])
    before = space.stored, space.opens
    done, asked = space.look()
    assert asked == [LIST]
    assert (done.is_different, done.broken) == (False, ())
    assert (space.stored, space.opens) == (before[0], before[1] + 2)  # each to read the index
    space.wiki.pages["102"].refused = 0
    assert space.look()[1] == [LIST]  # it is left to the complete sync
    assert space.sync().changed == ("ENG/102",)


def test_a_deletion_is_left_to_the_complete_sync(space: Space) -> None:
    del space.wiki.pages["105"]
    space.edit("101", "<p>New.</p>")
    done, _ = space.look()
    assert (done.changed, done.removed) == (("ENG/101",), ())
    assert space.text("ENG/105")
    assert space.sync().removed == ("ENG/105",)


def test_a_page_that_is_edited_and_restricted_is_closed_with_its_attachments(space: Space) -> None:
    space.wiki.files = {
        "att1": Attached(
            "101", "a.pdf", office.pdf(["The pump is bled first."]), "application/pdf"
        ),
        "att2": Attached("102", "b.pdf", office.pdf(["The other pump."]), "application/pdf"),
    }
    assert len(space.sync().added) == 2
    assert space.groups()["ENG/101/att1"] == (STAFF,)
    space.edit("101", "<p>The salary is 98,765.</p>", readers=("board",))
    done, _ = space.look()
    assert done.regrouped == ("ENG/101", "ENG/101/att1")
    stored = space.groups()
    assert stored["ENG/101"] == stored["ENG/101/att1"] == (BOARD, STAFF)
    assert stored["ENG/102"] == stored["ENG/102/att2"] == (STAFF,)
    assert not space.sync().is_different


def test_a_restriction_that_follows_the_list_does_not_open_the_newer_text(space: Space) -> None:
    """The list states the readers of the version before."""
    space.edit("101", "<p>Draft.</p>")
    listed = space.wiki.listed

    def restrict() -> None:
        space.wiki.listed = listed
        space.edit("101", "<p>The salary is 98,765.</p>", readers=("board",))

    space.wiki.listed = restrict
    done, _ = space.look()
    assert (done.changed, [file.why for file in done.broken]) == ((), [])
    assert "98,765" not in space.text("ENG/101")
    done, _ = space.look()
    assert "98,765" in space.text("ENG/101")
    assert space.groups()["ENG/101"] == (BOARD, STAFF)
    assert NEWER not in str(done)


def test_links_of_an_edited_page_are_complete_after_the_next_sync(space: Space) -> None:
    """A look does not know the addresses of the other pages."""
    link = '<p><ac:link><ri:page ri:content-title="Page 102" /></ac:link></p>'
    space.edit("101", link)
    assert space.look()[0].changed == ("ENG/101",)
    assert space.look()[1] == [LIST]
    assert "](" not in space.text("ENG/101")
    assert space.sync().changed == ("ENG/101",)
    assert "[Page 102](../102/Page+102)" in space.text("ENG/101")
    assert not space.sync().is_different


def test_more_edits_than_a_part_of_the_list_has_are_all_read(
    space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connector, "_PART", 2)
    space.wiki.part = 2
    for at in ("104", "105", "200", "201"):
        space.edit(at, "<p>Read before.</p>")
    space.look()
    for at in ("101", "102", "103"):
        space.edit(at, "<p>New.</p>")
    done, asked = space.look()
    assert len(done.changed) == 3
    assert asked.count(LIST) == 3  # the third part of four has nothing new
    monkeypatch.setattr(connector, "_LOOKS", 1)
    for at in ("101", "102", "103"):
        space.edit(at, "<p>Newer.</p>")
    assert len(space.look()[0].changed) == 2
    assert len(space.sync().changed) == 1


def test_another_process_looks_at_the_feed(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASKDOCS_SITES_TOKENS", f"{space.wiki.url.split('/')[2]} s3cret")
    monkeypatch.setenv("ASKDOCS_SITES_RATE", "100")
    with space.opened() as writer:
        known = writer.known(space.source.name)
    for at in ("101", "102", "103"):
        space.edit(at, "<p>New.</p>")
    apart = Apart(space.source.name, "confluence", "")
    found = list(apart.recent(known, ignored={"ENG/102"}))
    assert [item.page.path for item in found if isinstance(item, Changed)] == ["ENG/103", "ENG/101"]
    assert isinstance(found[-1], State)


def test_a_moved_page_is_not_in_the_index_twice(space: Space) -> None:
    with space.opened() as writer:
        known = dict(writer.known(space.source.name))
    moved = {**known, "OLD/101": known["ENG/101"]}
    del moved["ENG/101"]
    space.edit("101", "<p>New.</p>")
    assert list(space.source.recent(moved)) == []


def test_a_busy_service_is_waited_for_as_long_as_it_says(
    space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(fetch.time, "sleep", slept.append)
    space.edit("101", "<p>New.</p>")
    space.wiki.fail = [(429, {"Retry-After": "7"})]
    assert space.look()[0].changed == ("ENG/101",)
    assert max(slept) > 6


def test_a_token_that_expires_in_the_middle_of_a_look_deletes_nothing(space: Space) -> None:
    for at in ("101", "102"):
        space.edit(at, "<p>New.</p>")
    before = space.groups()
    for requests in range(5):
        space.wiki.until = requests
        with pytest.raises(AskdocsError, match="refuses the token"):
            space.look()
    space.wiki.until = None
    assert space.groups() == before
    with space.opened() as writer:
        [stored] = writer.sources()
    assert "failing" not in stored.spec  # the complete sync reports whether the wiki can be read
    space.look()  # one page may have been read before
    assert "New." in space.text("ENG/101")
    assert "New." in space.text("ENG/102")


def test_nothing_is_looked_at_before_the_first_complete_sync(space: Space, tmp_path: Path) -> None:
    space.wiki.asked.clear()
    other = partial(writing, tmp_path / "other.db")
    done = look(space.source, other, spec=SPEC)
    assert (done.pages, space.wiki.asked) == (0, [])
    changed = {**SPEC, "site_url": "https://x.example/"}
    assert look(space.source, space.opened, spec=changed).pages == 5
    assert space.wiki.asked == []
