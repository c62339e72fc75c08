"""Confluence, Cloud and Data Center, on servers that speak the vendor's wire format."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from core.errors import AskdocsError
from tests.sources.confluence_server import Wiki, Written, confluence
from tests.waiting import until
from wiki.index.index import Index, writing
from wiki.rights import NOBODY, Groups
from wiki.sources import fetch, sync
from wiki.sources.services.confluence import NEWER, Confluence, SpaceAddress
from wiki.sources.services.storage import document
from wiki.sources.source import (
    Broken,
    Changed,
    Expected,
    Item,
    LeftOut,
    Regrouped,
    Unchanged,
)
from wiki.sources.spec import Spec
from wiki.sources.synced import Synced
from wiki.sources.tokens import Token

TEXT = "<h2>First run</h2><p>Turn it on.</p>"
STAFF = frozenset({"staff"})


@pytest.fixture(params=["cloud", "data center"])
def wiki(request: pytest.FixtureRequest) -> Iterator[Wiki]:
    with confluence(request.param == "cloud") as made:
        made.pages = {str(n): Written(f"Page {n}", TEXT) for n in range(101, 106)}
        yield made


@pytest.fixture
def cloud() -> Iterator[Wiki]:
    with confluence(True) as made:
        made.pages = {str(n): Written(f"Page {n}", TEXT) for n in range(101, 106)}
        yield made


def source(wiki: Wiki, rights: bool = True) -> Confluence:
    token = Token("ada@example.com", "s3cret") if wiki.is_cloud else Token("", "s3cret")
    return Confluence(f"{wiki.url}/spaces/ENG/overview", token, 1000, rights)


def read(wiki: Wiki, known: dict[str, str] | None = None, rights: bool = True) -> list[Item]:
    return list(source(wiki, rights).read(known or {}))


def stamps(items: list[Item]) -> dict[str, str]:
    return {item.page.path: item.stamp for item in items if isinstance(item, Changed)}


def groups(items: list[Item]) -> dict[str, Groups | None]:
    return {item.page.path: item.groups for item in items if isinstance(item, Changed)}


def test_a_space_is_read_with_the_services_addresses_anchors_and_token(wiki: Wiki) -> None:
    items = read(wiki)
    assert items[0] == Expected(5)
    pages = [item.page for item in items if isinstance(item, Changed)]
    assert [page.path for page in pages] == [f"ENG/{n}" for n in range(101, 106)]
    assert pages[0].title == "Page 101"
    assert pages[0].url == f"{wiki.url}/spaces/ENG/pages/101/Page+101"
    anchor = "First-run" if wiki.is_cloud else "Page101-Firstrun"
    assert [section.anchor for section in pages[0].sections] == ["", anchor]
    assert pages[0].sections[1].body == "Turn it on.\n\nLabels: howto"
    scheme = "Basic YWRhQGV4YW1wbGUuY29tOnMzY3JldA==" if wiki.is_cloud else "Bearer s3cret"
    assert set(wiki.tokens) == {scheme}


def test_only_changed_pages_are_read_again_and_deleted_ones_are_gone(wiki: Wiki) -> None:
    known = stamps(read(wiki))
    wiki.asked.clear()
    wiki.pages["102"].version, wiki.pages["102"].body = 2, "<p>New.</p>"
    del wiki.pages["105"]
    items = read(wiki, known)
    assert list(stamps(items)) == ["ENG/102"]
    assert len([item for item in items if isinstance(item, Unchanged)]) == 3
    assert "ENG/105" not in str(items)
    # Cloud reads those that changed together; the one that is gone is asked for by itself.
    bodies = [
        path for path in wiki.asked if path.startswith(("/api/v2/pages", "/rest/api/content/1"))
    ]
    assert len(bodies) == 2


def test_a_page_belongs_to_the_readers_of_its_space_itself_and_those_above_it(wiki: Wiki) -> None:
    wiki.pages["102"].readers = ("managers", "ada@example.com")
    wiki.pages["103"].above = ("102",)
    first = read(wiki)
    both = tuple(sorted([STAFF, frozenset({"managers", "person:ada@example.com"})], key=sorted))
    assert groups(first)["ENG/101"] == (STAFF,)
    assert groups(first)["ENG/102"] == both
    assert groups(first)["ENG/103"] == both
    wiki.pages["101"].readers = ("board",)  # no version changes with that
    second = read(wiki, stamps(first))
    [changed] = [item for item in second if isinstance(item, Regrouped)]
    assert (changed.path, frozenset({"board"}) in (changed.groups or ())) == ("ENG/101", True)


def test_pages_of_a_space_whose_readers_are_not_told_are_for_nobody(wiki: Wiki) -> None:
    wiki.permissions = 403
    items = read(wiki)
    assert set(groups(items).values()) == {NOBODY}
    [problem] = [item for item in items if isinstance(item, Broken)]
    assert problem.path == "ENG/"
    assert "the rights of the space: answers 403; so nobody may read it" in problem.why
    assert set(groups(read(wiki, rights=False)).values()) == {None}


def test_readers_that_cannot_be_asked_for_now_end_the_sync(wiki: Wiki) -> None:
    """Else every page would be for nobody until the next sync."""
    where = "/api/v2/spaces/98306" if wiki.is_cloud else "/rest/api/space/ENG"
    wiki.failing = {f"{where}/permissions": 500}
    with pytest.raises(AskdocsError, match="answers 500: try later"):
        read(wiki)


def test_a_page_that_is_refused_stays_as_it_was_and_the_others_are_read(wiki: Wiki) -> None:
    wiki.pages["103"].refused = 403
    items = read(wiki)
    assert [item for item in items if isinstance(item, Broken)] == [
        Broken("ENG/103", "answers 403", (STAFF,))
    ]
    assert len(stamps(items)) == 4


def test_a_page_that_the_list_lacks_is_asked_for_before_it_counts_as_deleted(wiki: Wiki) -> None:
    known = stamps(read(wiki))
    wiki.hidden = {"104"}
    assert [item.path for item in read(wiki, known) if isinstance(item, Broken)] == ["ENG/104"]
    wiki.pages["104"].refused = 403
    assert [item.path for item in read(wiki, known) if isinstance(item, Broken)] == ["ENG/104"]


def test_a_page_that_moved_to_another_space_is_removed_where_it_was_or_closed(wiki: Wiki) -> None:
    known = {**stamps(read(wiki)), "OLD/104": "", "OLD/105": ""}
    wiki.hidden = {"105"}  # as if its new space were not read
    items = read(wiki, known)
    assert "OLD/104" not in str(items)
    closed = {item.path: item.groups for item in items if isinstance(item, Broken)}
    assert closed == {"ENG/105": NOBODY, "OLD/105": NOBODY}
    without = read(wiki, known, rights=False)
    assert {item.groups for item in without if isinstance(item, Broken)} == {None}


def test_a_page_that_cannot_be_read_gets_its_new_groups_at_once(
    cloud: Wiki, tmp_path: Path
) -> None:
    opened = partial(writing, tmp_path / "index.db")
    spec = {"kind": "confluence", "site_url": ""}

    def synced() -> tuple[Synced, Mapping[str, Groups | None]]:
        done = sync.sync(source(cloud), opened, spec=spec)
        with opened() as writer:
            return done, writer.groups(done.source)

    synced()
    cloud.pages["101"] = Written("Page 101", TEXT, version=2, readers=("board",), refused=403)
    cloud.hidden = {"102"}
    done, stored = synced()
    assert done.regrouped == ("ENG/101", "ENG/102")
    assert stored["ENG/101"] == (frozenset({"board"}), STAFF)
    assert stored["ENG/102"] == NOBODY
    assert stored["ENG/103"] == (STAFF,)
    assert synced()[0].regrouped == ()
    cloud.pages["101"].refused, cloud.hidden = 0, set()
    done, stored = synced()
    assert (done.changed, done.broken) == (("ENG/101", "ENG/102"), ())
    assert (stored["ENG/101"], stored["ENG/102"]) == ((frozenset({"board"}), STAFF), (STAFF,))


def test_a_page_that_is_restricted_and_written_while_it_is_read_is_left_to_the_next_sync(
    wiki: Wiki,
) -> None:
    def restrict() -> None:
        wiki.pages["102"] = Written("Page 102", "<p>The salary is 98,765.</p>", 2, readers=("hr",))

    wiki.listed = restrict
    items = read(wiki)
    assert "98,765" not in str(items)
    assert [(item.path, item.why) for item in items if isinstance(item, Broken)] == [
        ("ENG/102", NEWER)
    ]
    again = groups(read(wiki, stamps(items)))
    assert again == {"ENG/102": (frozenset({"hr"}), STAFF)}
    wiki.listed = lambda: wiki.pages.update({"103": Written("Page 103", "<p>New.</p>", 3)})
    assert "ENG/103" in groups(read(wiki, rights=False))


def test_names_of_groups_do_not_become_everybody_or_a_person(wiki: Wiki) -> None:
    wiki.space = ("everybody",)
    wiki.pages["101"].readers = ("person:boss",)
    found = groups(read(wiki))
    everybody = frozenset({"confluence:everybody"})
    assert found["ENG/102"] == (everybody,)
    boss = frozenset({"confluence:person:boss"})
    assert found["ENG/101"] == (everybody, boss)


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("unlisted", "the service does not show the space"),
        ("endless", "the list of permissions has no end"),
    ],
)
def test_a_space_whose_permissions_are_not_listed_is_for_nobody(
    cloud: Wiki, fault: str, why: str
) -> None:
    setattr(cloud, fault, True)
    items = read(cloud)
    assert set(groups(items).values()) == {NOBODY}
    [problem] = [item for item in items if isinstance(item, Broken)]
    assert f"the rights of the space: {why}; so nobody may read it" in problem.why


@pytest.mark.parametrize("lacking", ["ancestors", "restrictions"])
def test_a_list_that_does_not_say_what_restricts_a_page_opens_it_to_nobody(
    wiki: Wiki, lacking: str
) -> None:
    wiki.lacking = lacking
    assert set(groups(read(wiki)).values()) == {NOBODY}


def test_a_list_of_pages_that_goes_on_for_ever_ends(
    wiki: Wiki, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wiki.sources.services.confluence.PARTS", 20)
    wiki.unending = True
    with pytest.raises(AskdocsError, match="the list of pages has no end"):
        read(wiki)


@pytest.mark.parametrize(
    ("address", "site"),
    [
        ("https://me:hidden@team.atlassian.net/wiki/spaces/ENG", ""),
        ("https://me:hidden@w.example/api.php", "https://x.example"),
        ("https://me:hidden@w.example/docs/", ""),
        ("/wiki", "https://me:hidden@w.example/"),
    ],
)
def test_an_address_with_a_password_is_refused(address: str, site: str) -> None:
    with pytest.raises(AskdocsError, match="ASKDOCS_SITES_TOKENS") as refused:
        Spec.named(address, None, site)
    assert "hidden" not in str(refused.value)


def test_a_busy_service_is_waited_for_as_long_as_it_says(
    wiki: Wiki, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(fetch.time, "sleep", slept.append)
    wiki.fail = [None, (429, {"Retry-After": "7"}), 503, "truncated"]
    assert len(stamps(read(wiki))) == 5
    assert max(slept) > 6


@pytest.mark.parametrize("failure", [401, (302, {"location": "/login"}), 500, "truncated"])
def test_a_list_that_cannot_be_read_whole_ends_the_sync(wiki: Wiki, failure: Any) -> None:
    known = stamps(read(wiki))
    wiki.failing = {"/rest/api/content/search": failure}
    with pytest.raises(AskdocsError) as error:
        read(wiki, known)
    assert "s3cret" not in str(error.value)


def test_what_was_read_before_a_token_expired_is_kept_and_not_read_twice(
    wiki: Wiki, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after `kill -9`, but for the last pages."""
    monkeypatch.setattr(sync, "BATCH", 2)
    monkeypatch.setattr("wiki.sources.services.confluence._PART", 2)
    opened = partial(writing, tmp_path / "index.db")
    spec = {"kind": "confluence", "site_url": ""}
    wiki.until = 8  # within the bodies
    with pytest.raises(AskdocsError, match="refuses the token"):
        sync.sync(source(wiki), opened, spec=spec)
    index = Index(tmp_path / "index.db")
    kept = index.size
    assert 0 < kept < 5
    [stored] = index.sources()
    assert stored.synced is None
    wiki.until = None
    wiki.asked.clear()
    done = sync.sync(source(wiki), opened, spec=spec)
    assert (done.unchanged, len(done.added), done.removed) == (kept, 5 - kept, ())
    del wiki.pages["101"]
    assert sync.sync(source(wiki), opened, spec=spec).removed == ("ENG/101",)
    assert index.size == 4
    index.close()


def test_macros_are_what_readers_see_of_them() -> None:
    storage = (
        '<ac:structured-macro ac:name="toc"/>'
        '<ac:structured-macro ac:name="code"><ac:parameter ac:name="language">bash</ac:parameter>'
        "<ac:plain-text-body><![CDATA[if a > b; then echo '<x>'; fi]]></ac:plain-text-body>"
        "</ac:structured-macro>"
        '<ac:structured-macro ac:name="warning"><ac:rich-text-body><p>Hot.</p></ac:rich-text-body>'
        "</ac:structured-macro>"
        '<p>See <ac:link ac:anchor="x"><ri:page ri:content-title="Set up" />'
        "<ac:plain-text-link-body><![CDATA[the set-up]]></ac:plain-text-link-body></ac:link>.</p>"
        '<ac:structured-macro ac:name="include"><ac:parameter ac:name=""><ac:link>'
        '<ri:page ri:content-title="Other"/></ac:link></ac:parameter></ac:structured-macro>'
        "<ac:task-list><ac:task><ac:task-id>1</ac:task-id><ac:task-status>complete</ac:task-status>"
        "<ac:task-body>Done it</ac:task-body></ac:task></ac:task-list>"
        '<p><ac:structured-macro ac:name="status"><ac:parameter ac:name="title">LIVE'
        '</ac:parameter></ac:structured-macro></p><ac:image><ri:attachment ri:filename="a.png"/>'
        "</ac:image>"
    )

    def link(space: str, title: str) -> str:
        return "https://x.example/set-up" if (space, title) == ("", "Set up") else ""

    shown = document(storage, "A & B", link, str)
    assert "<h1>A &amp; B</h1>" in shown
    assert "<pre data-lang=\"bash\">if a &gt; b; then echo '&lt;x&gt;'; fi</pre>" in shown
    assert "<strong>Warning</strong>" in shown
    assert "<p>Hot.</p>" in shown
    assert 'See <a href="https://x.example/set-up">the set-up</a>.' in shown
    assert "(includes Other, a separate page)" in shown
    assert "[x] Done it" in shown
    assert ">LIVE<" in shown
    assert "ac:" not in shown
    assert "ri:" not in shown
    assert "a.png" not in shown


@pytest.mark.parametrize(
    ("address", "base", "space"),
    [
        ("https://t.atlassian.net/wiki/spaces/ENG/overview", "https://t.atlassian.net/wiki", "ENG"),
        ("https://t.atlassian.net/", "https://t.atlassian.net/wiki", ""),
        ("https://w.example/confluence/display/ENG/Home", "https://w.example/confluence", "ENG"),
        ("https://w.example/spaces/~ada", "https://w.example", "~ada"),
    ],
)
def test_a_space_is_named_by_its_address(address: str, base: str, space: str) -> None:
    assert SpaceAddress.parse(address) == SpaceAddress(base, space)
    if "atlassian" in address:
        assert Spec.named(address).kind == "confluence"


def test_a_page_without_text_is_left_out(cloud: Wiki) -> None:
    cloud.pages["101"].body = '<ac:structured-macro ac:name="children" />'
    assert LeftOut("ENG/101", "no text") in read(cloud)


@pytest.mark.slow
def test_a_sync_that_is_killed_goes_on_behind_what_it_has_written(
    cloud: Wiki, tmp_path: Path
) -> None:
    """`kill -9` in the middle of the fifth hundred, of the command that people run."""
    cloud.part = 50
    cloud.pages = {str(n): Written(f"Page {n}", TEXT) for n in range(1000, 1300)}
    cloud.hold = 5
    host = cloud.url.split("/")[2]
    environment = {
        **os.environ,
        "ASKDOCS_HOME": str(tmp_path),
        "ASKDOCS_SITES_TOKENS": f"{host} ada@example.com:s3cret",
        "ASKDOCS_SITES_RATE": "100",
    }
    askdocs = str(Path(sys.executable).with_name("askdocs"))
    command = [askdocs, "docs", "sync", f"{cloud.url}/spaces/ENG"]
    command += ["--kind", "confluence", "--json"]
    first = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        assert cloud.held.wait(120)
        index = Index(tmp_path / "index.db")
        until(lambda: index.size >= sync.BATCH, 60)  # it is written while the next is read
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    kept = index.size
    assert kept < 300
    index.close()
    cloud.hold = None
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    (told,) = json.loads(done.stdout)
    assert (told["unchanged"], len(told["added"]), told["removed"]) == (kept, 300 - kept, [])
