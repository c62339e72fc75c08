"""Wikis in real folders, synced to a real index."""

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest

from core.errors import AskdocsError
from tests.gateway.conftest import page
from wiki.index.index import Index, writing
from wiki.sources.excluded import exclude, restore
from wiki.sources.source import (
    NO_TEXT,
    Broken,
    Changed,
    Item,
    LeftOut,
    Source,
    State,
    Unchanged,
)
from wiki.sources.spec import Spec
from wiki.sources.sync import look, sync
from wiki.sources.synced import Synced

SITE = "https://wiki.example.com/"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "index.db"


def synced(wiki: Path, file: Path, **options: bool) -> Synced:
    spec = Spec.named(str(wiki), site_url=SITE)
    return sync(spec.open(), partial(writing, file), spec=spec.stored, **options)


def paths(file: Path) -> list[str]:
    index = Index(file)
    try:
        return [page.path for page in index.pages()]
    finally:
        index.close()


def numbers(file: Path) -> list[int]:
    index = Index(file)
    try:
        return index.numbers()
    finally:
        index.close()


def test_a_first_sync_adds_every_page(wiki: Path, file: Path) -> None:
    done = synced(wiki, file)
    assert done.source == str(wiki)
    assert done.added == ("coffee.md", "travel.md")
    assert (done.changed, done.removed, done.unchanged, done.broken) == ((), (), 0, ())
    assert done.pages == 2
    assert done.is_different
    assert paths(file) == ["coffee.md", "travel.md"]


def test_a_second_sync_leaves_everything_as_it_is(wiki: Path, file: Path) -> None:
    synced(wiki, file)
    before = numbers(file)
    done = synced(wiki, file)
    assert not done.is_different
    assert done.unchanged == 2
    assert numbers(file) == before


def test_what_changed_is_written_and_the_rest_is_not(wiki: Path, file: Path) -> None:
    synced(wiki, file)
    _, travel = numbers(file)
    (wiki / "coffee.md").write_text("# Coffee\n\nThe machine stands on floor 4.\n")
    (wiki / "new.md").write_text("# New\n\nText.\n")
    done = synced(wiki, file)
    assert (done.added, done.changed, done.unchanged) == (("new.md",), ("coffee.md",), 1)
    assert travel in numbers(file)
    index = Index(file)
    coffee = index.by_path("coffee.md")
    assert coffee
    assert "floor 4" in coffee.text
    index.close()


def test_a_page_that_is_deleted_at_the_source_is_gone(wiki: Path, file: Path) -> None:
    synced(wiki, file)
    (wiki / "travel.md").unlink()
    assert synced(wiki, file).removed == ("travel.md",)
    index = Index(file)
    assert not index.match(["travel", "desk"], 5)
    index.close()


def test_a_broken_page_is_told_stays_as_it_was_and_stops_nothing(wiki: Path, file: Path) -> None:
    synced(wiki, file)
    (wiki / "coffee.md").write_bytes("# Größe\n".encode("latin-1"))
    (wiki / "new.md").write_text("# New\n\nText.\n")
    done = synced(wiki, file)
    (broken,) = done.broken
    assert broken.path == "coffee.md"
    assert "UTF-8" in broken.why
    assert done.added == ("new.md",)
    assert not done.removed
    assert paths(file) == ["coffee.md", "new.md", "travel.md"]
    index = Index(file)
    (stored,) = index.sources()
    index.close()
    assert stored.problems == (f"coffee.md: {broken.why}",)
    assert stored.synced


def test_a_page_that_is_well_again_is_no_problem_any_more(wiki: Path, file: Path) -> None:
    (wiki / "coffee.md").write_bytes(b"\xff")
    assert synced(wiki, file).broken
    (wiki / "coffee.md").write_text("# Coffee\n\nText.\n")
    assert synced(wiki, file).added == ("coffee.md",)
    index = Index(file)
    assert index.sources()[0].problems == ()
    index.close()


def test_a_dry_run_says_the_same_and_writes_nothing(wiki: Path, file: Path) -> None:
    synced(wiki, file)
    before = file.read_bytes()
    (wiki / "travel.md").unlink()
    (wiki / "new.md").write_text("# New\n\nText.\n")
    tried = synced(wiki, file, dry_run=True)
    assert file.read_bytes() == before
    done = synced(wiki, file)
    assert (
        (tried.added, tried.removed) == (done.added, done.removed) == (("new.md",), ("travel.md",))
    )


def test_a_folder_that_is_gone_takes_no_page_along(wiki: Path, file: Path) -> None:
    synced(wiki, file)
    wiki.rename(wiki.with_name("elsewhere"))
    with pytest.raises(AskdocsError, match="does not exist"):
        synced(wiki, file)
    assert paths(file) == ["coffee.md", "travel.md"]


def test_another_address_of_the_site_reads_every_page_again(wiki: Path, file: Path) -> None:
    synced(wiki, file)
    spec = Spec.named(str(wiki), site_url="https://new.example.com/")
    done = sync(spec.open(), partial(writing, file), spec=spec.stored)
    assert done.changed == ("coffee.md", "travel.md")
    index = Index(file)
    assert index.by_url("https://new.example.com/coffee/")
    assert not index.by_url("https://wiki.example.com/coffee/")
    index.close()


def test_two_wikis_keep_apart(wiki: Path, file: Path, tmp_path: Path) -> None:
    synced(wiki, file)
    other = tmp_path / "other"
    other.mkdir()
    (other / "coffee.md").write_text("# Another coffee\n\nText.\n")
    assert synced(other, file).added == ("coffee.md",)
    (other / "coffee.md").unlink()
    (other / "tea.md").write_text("# Tea\n\nText.\n")
    assert synced(other, file).removed == ("coffee.md",)
    assert paths(file) == ["tea.md", "coffee.md", "travel.md"]


def test_the_wiki_of_the_settings_takes_the_place_of_the_one_before(
    wiki: Path, file: Path, tmp_path: Path
) -> None:
    by_hand = tmp_path / "by-hand"
    other = tmp_path / "other"
    for folder in (by_hand, other):
        folder.mkdir()
        (folder / f"{folder.name}.md").write_text("# Page\n\nText.\n")
    synced(by_hand, file)
    synced(wiki, file, configured=True)
    synced(wiki, file)  # by hand, too: it stays the one of the settings
    synced(other, file, configured=True)
    assert paths(file) == ["by-hand.md", "other.md"]


def test_a_page_that_was_taken_out_stays_out_until_it_is_restored(wiki: Path, file: Path) -> None:
    synced(wiki, file)
    with writing(file) as writer:
        exclude(writer, writer.sources()[0], "coffee.md")
    (wiki / "coffee.md").write_text("# Coffee\n\nNew text.\n")
    done = synced(wiki, file)
    assert done.excluded == ("coffee.md",)
    assert not done.is_different
    assert paths(file) == ["travel.md"]
    with writing(file) as writer:
        restore(writer, writer.sources()[0], "coffee.md")
    assert synced(wiki, file).added == ("coffee.md",)
    assert paths(file) == ["coffee.md", "travel.md"]


def test_a_wiki_without_an_address_says_the_option(wiki: Path, file: Path) -> None:
    spec = Spec.named(str(wiki))
    with pytest.raises(AskdocsError, match=r"public address .*--site-url URL"):
        sync(spec.open(), partial(writing, file), spec=spec.stored)


class Listed:
    """A source whose pages are what `steps` yields."""

    name = "listed"

    def __init__(
        self, steps: Callable[[Mapping[str, str]], Iterator[Unchanged | Changed | Broken]]
    ):
        self._steps = steps

    def read(
        self, known: Mapping[str, str], state: str = ""
    ) -> Iterator[Unchanged | Changed | Broken]:
        return self._steps(known)


def listed(file: Path, source: Source) -> Synced:
    return sync(source, partial(writing, file), spec={})


def test_a_source_that_breaks_off_changes_nothing(file: Path) -> None:
    def whole(known: Mapping[str, str]) -> Iterator[Unchanged | Changed | Broken]:
        yield Changed(page("a.md", "# A\n\nText."), "1")
        yield Changed(page("b.md", "# B\n\nText."), "1")

    def half(known: Mapping[str, str]) -> Iterator[Unchanged | Changed | Broken]:
        yield Changed(page("c.md", "# C\n\nText."), "1")
        raise AskdocsError("the site is gone")

    listed(file, Listed(whole))
    with pytest.raises(AskdocsError, match="the site is gone"):
        listed(file, Listed(half))
    assert paths(file) == ["a.md", "b.md"]


class Following:
    """A source with a feed, whose state is how often it was read."""

    name = "following"

    def __init__(self) -> None:
        self.given: list[str] = []
        self.again: list[str] = []
        self.broken = False

    def read(self, known: Mapping[str, str], state: str = "") -> Iterator[Item]:
        self.given.append(state)
        self.again = [path for path, stamp in known.items() if not stamp]
        for path in ("a.md", "b.md"):
            if path in known and path not in self.again:
                yield Unchanged(path)
            else:
                yield Changed(page(path, f"# {path}\n\nText."), "1")
        if self.broken:
            yield Broken("c.md", "away")
        yield State(str(len(self.given)))


def test_a_state_is_given_back_with_what_could_not_be_read_while_the_index_has_its_pages(
    file: Path,
) -> None:
    source, opened = Following(), partial(writing, file)
    listed(file, source)
    source.broken = True
    listed(file, source)
    assert source.again == []
    listed(file, source)
    assert source.again == ["c.md"]
    assert source.given == ["", "1", "2"]
    sync(source, opened, spec={}, dry_run=True)
    with opened() as writer:
        exclude(writer, writer.sources()[0], "a.md")
    listed(file, source)
    assert source.given[-2:] == ["3", ""]
    listed(file, source)
    assert source.given[-1] == "5"
    with opened() as writer:
        restore(writer, writer.sources()[0], "a.md")
    assert listed(file, source).added == ("a.md",)
    assert source.given[-1] == ""
    sync(source, opened, spec={"site_url": "https://new.example.com"})
    assert source.given[-1] == ""


class Looked(Following):
    """One whose feed shows `items`."""

    def __init__(self, *items: Item) -> None:
        super().__init__()
        self.items = items
        self.ignored: set[str] = set()

    def recent(
        self, known: Mapping[str, str], state: str = "", ignored: Collection[str] = ()
    ) -> Iterator[Item]:
        self.given.append(state)
        self.ignored = set(ignored)
        yield from self.items
        yield State(state)


def test_a_look_at_a_feed_leaves_the_state_of_the_last_complete_sync(file: Path) -> None:
    new, lost = Changed(page("new.md", "# New\n\nText."), "1"), Broken("lost.md", "away")
    source, opened = Looked(new, lost, LeftOut("b.md", NO_TEXT)), partial(writing, file)
    listed(file, source)
    done = look(source, opened, spec={})
    assert (done.added, done.removed, done.unchanged) == (("new.md",), ("b.md",), 1)
    assert (done.pages, [broken.path for broken in done.broken]) == (2, ["lost.md"])
    assert (source.given[-1], source.ignored) == ("1", set())
    source.items = ()
    assert not look(source, opened, spec={}).is_different
    assert (source.given[-1], source.ignored) == ("1", {"lost.md"})
    listed(file, source)
    assert (source.given[-1], source.again) == ("1", ["lost.md"])


def test_a_look_at_a_feed_gets_no_state_of_other_pages_and_ignores_excluded_ones(
    file: Path,
) -> None:
    source, opened = Looked(Changed(page("a.md", "# A\n\nNew."), "2")), partial(writing, file)
    listed(file, source)
    with opened() as writer:
        exclude(writer, writer.sources()[0], "a.md")
    done = look(source, opened, spec={})
    assert (done.is_different, done.excluded, paths(file)) == (False, ("a.md",), ["b.md"])
    assert (source.given[-1], source.ignored) == ("", {"a.md"})


def test_a_look_that_breaks_off_changes_nothing_and_is_no_failure_of_the_wiki(file: Path) -> None:
    class Cut(Looked):
        def recent(
            self, known: Mapping[str, str], state: str = "", ignored: Collection[str] = ()
        ) -> Iterator[Item]:
            yield from super().recent(known, state, ignored)
            raise AskdocsError("the token has expired")

    source, opened = Cut(LeftOut("b.md", NO_TEXT)), partial(writing, file)
    listed(file, source)
    with opened() as writer:
        before = writer.sources()
    with pytest.raises(AskdocsError, match="expired"):
        look(source, opened, spec={})
    with opened() as writer:
        assert writer.sources() == before
    assert paths(file) == ["a.md", "b.md"]


def test_a_sync_that_breaks_off_leaves_the_state_of_before(file: Path) -> None:
    class Cut(Following):
        def read(self, known: Mapping[str, str], state: str = "") -> Iterator[Item]:
            yield from super().read(known, state)
            if len(self.given) == 2:
                raise AskdocsError("the token has expired")

    source = Cut()
    listed(file, source)
    with pytest.raises(AskdocsError, match="expired"):
        listed(file, source)
    listed(file, source)
    assert source.given == ["", "1", "1"]


def test_pages_that_cannot_be_read_stay_although_all_are_to_be_read_again(file: Path) -> None:
    def whole(known: Mapping[str, str]) -> Iterator[Unchanged | Changed | Broken]:
        yield Changed(page("a/b.md", "# B\n\nText."), "1")

    def away(known: Mapping[str, str]) -> Iterator[Unchanged | Changed | Broken]:
        yield from (Broken(path, f"away: {stamp!r}") for path, stamp in known.items())

    listed(file, Listed(whole))
    done = sync(Listed(away), partial(writing, file), spec={"site_url": "https://new.example.com"})
    assert done.broken == (Broken("a/b.md", "away: ''"),)
    assert not done.removed
    assert paths(file) == ["a/b.md"]


def test_a_page_that_is_left_out_now_is_gone(wiki: Path, file: Path) -> None:
    synced(wiki, file)
    (wiki / "travel.md").write_text("")
    done = synced(wiki, file)
    assert done.removed == ("travel.md",)
    assert done.left_out == (LeftOut("travel.md", "no text"),)
    assert done.omission == "1 left out: no text (1)"
    assert paths(file) == ["coffee.md"]


def test_a_sync_that_was_overtaken_looks_again_and_undoes_nothing(file: Path) -> None:
    """The slow one reads the old text, then a fast one writes the new text."""
    reads: list[dict[str, str]] = []

    def fast(known: Mapping[str, str]) -> Iterator[Unchanged | Changed | Broken]:
        yield Changed(page("a.md", "# A\n\nnew"), "2")

    def slow(known: Mapping[str, str]) -> Iterator[Unchanged | Changed | Broken]:
        reads.append(dict(known))
        if len(reads) == 1:
            yield Changed(page("a.md", "# A\n\nold"), "1")
            listed(file, Listed(fast))
        else:
            yield Unchanged("a.md")

    done = listed(file, Listed(slow))
    assert reads == [{}, {"a.md": "2"}]
    assert done.unchanged == 1
    index = Index(file)
    assert index.pages()[0].text == "# A\n\nnew"
    index.close()


def test_a_source_is_read_while_nobody_is_kept_from_writing(file: Path) -> None:
    def steps(known: Mapping[str, str]) -> Iterator[Unchanged | Changed | Broken]:
        yield Changed(page("a.md", "# A\n\nText."), "1")
        with writing(file, patience=0) as writer:
            writer.put("other", page("b.md", "# B\n\nText."), "1")

    listed(file, Listed(steps))
    assert paths(file) == ["a.md", "b.md"]


def test_more_pages_than_are_held_in_memory_are_all_written(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wiki.sources.sync.IN_MEMORY", 100)

    def steps(known: Mapping[str, str]) -> Iterator[Unchanged | Changed | Broken]:
        for number in range(50):
            yield Changed(page(f"{number:02}.md", f"# Page {number}\n\nText."), "1")

    assert len(listed(file, Listed(steps)).added) == 50
    assert len(paths(file)) == 50


def test_progress_counts_what_is_read_and_written(wiki: Path, file: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []
    spec = Spec.named(str(wiki), site_url=SITE)

    def told() -> Synced:
        return sync(
            spec.open(),
            partial(writing, file),
            spec=spec.stored,
            progress=lambda *step: seen.append(step),
        )

    told()
    assert seen == [
        *(("reading", 1, None), ("reading", 2, None)),
        *(("writing", 1, 2), ("writing", 2, 2)),
    ]
    seen.clear()
    told()
    assert seen == [("reading", 1, 2), ("reading", 2, 2)]


def test_an_index_that_cannot_be_written_is_one_clear_error(wiki: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AskdocsError, match=r"cannot be written .*--home"):
        synced(wiki, tmp_path / "file" / "index.db")


def test_an_error_within_the_transaction_leaves_the_index_of_before(wiki: Path, file: Path) -> None:
    synced(wiki, file)
    (wiki / "new.md").write_text("# New\n\nText.\n")
    (wiki / "travel.md").unlink()

    def stop(step: str, done: int, total: int | None) -> None:
        if step == "writing":
            raise AskdocsError("stopped")

    spec = Spec.named(str(wiki), site_url=SITE)
    with pytest.raises(AskdocsError, match="stopped"):
        sync(spec.open(), partial(writing, file), spec=spec.stored, progress=stop)
    assert paths(file) == ["coffee.md", "travel.md"]


def test_a_wiki_within_another_is_a_twin_only_where_it_has_its_pages(
    tmp_path: Path, wiki: Path, file: Path
) -> None:
    for version in ("v1", "v2"):  # side by side
        pages = tmp_path / "project" / version
        pages.mkdir(parents=True)
        for one in wiki.iterdir():
            (pages / one.name).write_text(one.read_text())
        assert synced(pages, file).twin == ""
    part = tmp_path / "project" / "v2" / "part"
    part.mkdir()
    (part / "else.md").write_text("# Else\n\nText.\n")
    assert synced(part, file).twin == ""
    (tmp_path / "project" / "mkdocs.yml").write_text("docs_dir: v1\n")
    whole = tmp_path / "project"
    done = synced(whole, file)
    assert done.twin == str(whole / "v1")
    assert done.repetition.endswith(
        f"`askdocs docs remove {whole / 'v1'}` keeps only those of {whole}"
    )
    assert synced(whole, file).repetition == ""  # nothing was added


def test_what_is_named_is_what_is_remembered(wiki: Path) -> None:
    for spec in (
        Spec.named(str(wiki), "mkdocs", SITE),
        Spec.named(str(wiki)),
        Spec.named("https://wiki.example.com/docs/"),
    ):
        assert Spec.remembered(spec.place, spec.stored) == spec


def test_a_wiki_has_one_name_however_it_is_written(wiki: Path) -> None:
    ways = (wiki, f"{wiki}/", wiki / ".." / wiki.name)
    assert {Spec.named(str(way)).place for way in ways} == {str(wiki)}
    sites = ("https://wiki.example.com", "HTTPS://Wiki.Example.com/#top")
    assert {Spec.named(site).place for site in sites} == {"https://wiki.example.com/"}


@pytest.mark.parametrize(
    ("text", "kind", "site_url", "message"),
    [
        ("wiki", "word", "", "the kind 'word' is unknown: use one of mkdocs, docusaurus"),
        ("wiki", "site", "", "wiki is not the address of a site"),
        ("https://wiki", "html", "", "https://wiki is the address of a site, not a folder"),
        ("wiki", None, "wiki.example.com", "'wiki.example.com' does not begin with https://"),
    ],
)
def test_what_does_not_fit_is_said(
    text: str, kind: str | None, site_url: str, message: str
) -> None:
    with pytest.raises(AskdocsError, match=message):
        Spec.named(text, kind, site_url)


def test_an_address_is_asked_for_only_where_no_page_says_one(file: Path, tmp_path: Path) -> None:
    wiki = tmp_path / "unaddressed"
    wiki.mkdir()
    (wiki / "a.md").write_text("# A\n\nText")
    spec = Spec.named(str(wiki))
    with pytest.raises(AskdocsError, match=r"--site-url URL, or write `url: https://...`"):
        sync(spec.open(), partial(writing, file), spec=spec.stored)
    (wiki / "b.md").write_text("---\nurl: https://x.example/b\n---\n# B\n\nText")
    done = sync(spec.open(), partial(writing, file), spec=spec.stored)
    assert done.added == ("b.md",)
    assert [one.path for one in done.broken] == ["a.md"]
