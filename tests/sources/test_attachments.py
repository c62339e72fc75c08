"""Files attached to pages of Confluence, Cloud and Data Center."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from core.errors import AskdocsError
from tests.sources import office
from tests.sources.confluence_server import Attached, Wiki, Written, confluence
from wiki.index.index import Index, writing
from wiki.sources import fetch, sync
from wiki.sources.documents import attached, pdf, reading
from wiki.sources.services import api
from wiki.sources.services.confluence import Confluence
from wiki.sources.source import (
    Broken,
    Changed,
    Expected,
    Item,
    LeftOut,
    Regrouped,
    Unchanged,
)
from wiki.sources.tokens import Token

LINE = "The pump is bled before the first start, and its valve is opened slowly."
PDF = office.pdf([LINE, "Torque is 40 Nm."])
PDF_TYPE = "application/pdf"
STAFF = frozenset({"staff"})


@pytest.fixture(params=["cloud", "data center"])
def wiki(request: pytest.FixtureRequest) -> Iterator[Wiki]:
    with confluence(request.param == "cloud") as made:
        made.pages = {str(n): Written(f"Page {n}", "<p>Turn it on.</p>") for n in (101, 102)}
        made.files = {
            "att1": Attached("101", "pump manual.pdf", PDF, PDF_TYPE),
            "att2": Attached("102", "prices.xlsx", office.xlsx([["Tea", "2"]]), "x/y"),
        }
        yield made


def source(wiki: Wiki, attachments: bool = True, rights: bool = True) -> Confluence:
    token = Token("ada@example.com", "s3cret") if wiki.is_cloud else Token("", "s3cret")
    return Confluence(f"{wiki.url}/spaces/ENG", token, 1000, rights, attachments)


def read(wiki: Wiki, known: dict[str, str] | None = None, **how: bool) -> list[Item]:
    return list(source(wiki, **how).read(known or {}))


def pages(items: list[Item]) -> dict[str, Changed]:
    return {item.page.path: item for item in items if isinstance(item, Changed)}


def stamps(items: list[Item]) -> dict[str, str]:
    return {path: item.stamp for path, item in pages(items).items()}


def downloads(wiki: Wiki) -> list[str]:
    return [path for path in wiki.asked if path.startswith("/download/")]


def why(wiki: Wiki, file: Attached) -> LeftOut | Broken | None:
    wiki.files = {"att1": file}
    found = [item for item in read(wiki) if isinstance(item, LeftOut | Broken)]
    return found[0] if found else None


def test_attached_files_are_pages_with_their_address_and_the_groups_of_their_page(
    wiki: Wiki,
) -> None:
    wiki.pages["102"].readers = ("board",)
    items = read(wiki)
    assert items[0] == Expected(4)
    found = pages(items)
    assert list(found) == ["ENG/101", "ENG/102", "ENG/101/att1", "ENG/102/att2"]
    manual, prices = found["ENG/101/att1"], found["ENG/102/att2"]
    assert manual.page.title == "Pump manual"
    assert manual.page.section_url(manual.page.sections[1]) == (
        f"{wiki.url}/download/attachments/101/pump%20manual.pdf#page=2"
    )
    assert manual.page.sections[1].body == "Torque is 40 Nm.\n\nAttached to: Page 101"
    assert "| Tea | 2 |" in prices.page.text
    assert manual.groups == (STAFF,)
    assert prices.groups == found["ENG/102"].groups == (frozenset({"board"}), STAFF)
    # The files are behind the token, too.
    assert len(set(wiki.tokens)) == 1


def test_they_are_read_only_where_the_settings_say_so(wiki: Wiki) -> None:
    known = stamps(read(wiki))
    wiki.asked.clear()
    items = read(wiki, known, attachments=False)
    assert [item.path for item in items if isinstance(item, Unchanged)] == ["ENG/101", "ENG/102"]
    assert "att" not in str(items) + str(wiki.asked)


def test_only_new_versions_are_downloaded_and_a_right_changes_without_a_download(
    wiki: Wiki,
) -> None:
    known = stamps(read(wiki))
    wiki.asked.clear()
    wiki.files["att1"].version, wiki.files["att1"].data = 2, office.pdf(["New text of the manual."])
    wiki.pages["102"].readers = ("board",)
    items = read(wiki, known)
    assert list(stamps(items)) == ["ENG/101/att1"]
    assert len(downloads(wiki)) == 1
    regrouped = {item.path: item.groups for item in items if isinstance(item, Regrouped)}
    assert regrouped["ENG/102/att2"] == regrouped["ENG/102"] == (frozenset({"board"}), STAFF)


def test_what_is_deleted_or_moved_or_of_a_deleted_page_goes(wiki: Wiki) -> None:
    wiki.files["att3"] = Attached("102", "a.txt", b"Text of a file.", "text/plain")
    known = stamps(read(wiki))
    del wiki.files["att1"]  # deleted
    wiki.files["att2"].page = "101"  # moved
    wiki.hidden = {"att3"}  # deleted with its page, which the list of files shows first
    del wiki.pages["102"]
    items = read(wiki, known)
    named = {item.path for item in items if isinstance(item, Unchanged | Broken)}
    assert (named, set(stamps(items))) == ({"ENG/101"}, {"ENG/101/att2"})


def test_one_that_the_list_lacks_is_closed_until_it_is_known_to_be_gone(wiki: Wiki) -> None:
    known = stamps(read(wiki))
    wiki.hidden = {"att1"}
    [missing] = [item for item in read(wiki, known) if isinstance(item, Broken)]
    assert (missing.path, missing.groups) == ("ENG/101/att1", (frozenset(),))
    [missing] = [item for item in read(wiki, known, rights=False) if isinstance(item, Broken)]
    assert missing.groups is None


@pytest.mark.parametrize(
    ("name", "data", "found"),
    [
        ("photo.pdf", b"\x89PNG\r\n\x1a\n\0\0" + b"x" * 50, "content does not match its file type"),
        ("notes.txt", b"\x7fELF\0\0\0", "content does not match its file type"),
        ("a.pdf", b"Plain text in a file of that name.", "content does not match its file type"),
        ("data.json", b'{"rows": []}', attached.OTHER),
        ("classes.docx", office.packed({"A.class": "x"}), attached.OTHER),
        ("old.doc", b"\xd0\xcf\x11\xe0", "old Word document: save it as DOCX"),
        ("scan.pdf", office.pdf([""], picture=True), "scanned PDF"),
    ],
)
def test_a_file_is_read_by_its_content_and_not_by_its_name(
    wiki: Wiki, name: str, data: bytes, found: str
) -> None:
    item = why(wiki, Attached("101", name, data, PDF_TYPE))
    assert isinstance(item, LeftOut)
    assert found in item.why


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("manual.txt", PDF, "Torque is 40 Nm."),
        ("manual", PDF, "Torque is 40 Nm."),
        ("slides.pdf", office.pptx("Valves", ["Open it slowly."], ""), "Open it slowly."),
        ("report.xlsx", office.docx([("Heading 1", "Valves"), ("", LINE)]), LINE),
        ("book.pdf", office.epub("Pumps", {"a.xhtml": f"<p>{LINE}</p>"}), LINE),
        ("a.rst", f"Valves\n======\n\n{LINE}\n".encode(), LINE),
        ("wide.txt", LINE.encode("utf-16"), LINE),
        (
            "api.json",
            json.dumps(
                {
                    "openapi": "3.0.0",
                    "info": {"title": "Pumps"},
                    "paths": {"/bleed": {"post": {"summary": "Bleeds the pump"}}},
                }
            ).encode(),
            "Bleeds the pump",
        ),
    ],
)
def test_each_kind_of_document_is_read_whatever_it_is_named(
    wiki: Wiki, name: str, data: bytes, text: str
) -> None:
    wiki.files = {"att1": Attached("101", name, data, PDF_TYPE)}
    assert text in pages(read(wiki))["ENG/101/att1"].page.text


def test_what_cannot_be_a_document_or_is_too_large_is_not_downloaded(
    wiki: Wiki, monkeypatch: pytest.MonkeyPatch
) -> None:
    wiki.files = {
        "att1": Attached("101", "photo.png", b"x", "image/png"),
        "att2": Attached("101", "film.pdf", PDF, PDF_TYPE, size=reading.LARGEST + 1),
        "att3": Attached("999", "of a blog post.pdf", PDF, PDF_TYPE),
    }
    items = read(wiki)
    assert [item for item in items if isinstance(item, LeftOut)] == [
        LeftOut("ENG/101/att1", attached.OTHER),
        LeftOut("ENG/101/att2", "larger than 128 MiB"),
    ]
    assert downloads(wiki) == []
    # The list may say less than there is.
    monkeypatch.setattr(reading, "LARGEST", 2**20)
    large = Attached("101", "film.pdf", b"%PDF-" + bytes(2**20), PDF_TYPE, size=1)
    assert why(wiki, large) == Broken("ENG/101/att1", "larger than 1 MiB", (STAFF,))


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (403, "answers 403"),
        ("truncated", "peer closed connection"),
        ((302, {"location": "https://elsewhere.example/f"}), "at another host, elsewhere.example"),
        ((302, {"location": "http://169.254.169.254/"}), "at another host, 169.254.169.254"),
    ],
)
def test_one_that_is_refused_stays_as_it_was_and_the_others_are_read(
    wiki: Wiki, fault: Any, reason: str
) -> None:
    wiki.failing = {"/download/attachments/101/pump%20manual.pdf": fault}
    items = read(wiki)
    [broken] = [item for item in items if isinstance(item, Broken)]
    assert (broken.path, broken.groups) == ("ENG/101/att1", (STAFF,))
    assert reason in broken.why
    assert "ENG/102/att2" in stamps(items)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (".env", b"PASSWORD=s3cret"),
        ("id_rsa", b"not for readers"),
        ("server.log", b"GET / 200"),
        (".notes.txt", b"Buy milk."),
        (".manual.pdf", PDF),
        ("robots.txt", b"User-agent: *"),
        ("Requirements-dev.txt", b"flask==3"),
    ],
)
def test_what_a_folder_skips_is_not_downloaded(wiki: Wiki, name: str, data: bytes) -> None:
    item = why(wiki, Attached("101", name, data, "text/plain"))
    assert item == LeftOut("ENG/101/att1", attached.OTHER)
    assert downloads(wiki) == []


def test_a_text_that_is_said_to_be_a_document_needs_the_name_of_one(wiki: Wiki) -> None:
    item = why(wiki, Attached("101", "id_rsa", b"-----BEGIN OPENSSH PRIVATE KEY-----", PDF_TYPE))
    assert isinstance(item, LeftOut)
    assert item.why == "attachment whose content does not match its file type"


def test_a_page_to_sign_in_is_no_text_of_the_file(wiki: Wiki) -> None:
    item = why(wiki, Attached("101", "a.txt", b"\n<!DOCTYPE html><p>Sign in", "text/plain"))
    assert isinstance(item, Broken)
    assert "a web page in place of the file" in item.why


def test_a_busy_service_is_waited_for_and_an_expired_token_ends_the_sync(
    wiki: Wiki, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(fetch.time, "sleep", slept.append)
    at = "/download/attachments/101/pump%20manual.pdf"
    wiki.failing_once = {at: (429, {"Retry-After": "7"})}
    assert "ENG/101/att1" in stamps(read(wiki))
    assert max(slept) > 6
    wiki.failing = {at: 401}
    with pytest.raises(AskdocsError, match="refuses the token"):
        read(wiki)
    wiki.failing = {"/rest/api/content/search": 403}
    with pytest.raises(AskdocsError, match="the list of pages answers 403"):
        read(wiki)


def test_files_that_the_cloud_keeps_elsewhere_are_read_without_the_token(
    wiki: Wiki, monkeypatch: pytest.MonkeyPatch
) -> None:
    with confluence(False) as media:
        media.files = {"m": Attached("1", "f", PDF, PDF_TYPE)}
        monkeypatch.setattr(api, "MEDIA", (media.url.removesuffix("/confluence"),))
        wiki.files["att1"].elsewhere = f"{media.url}/download/attachments/1/f?token=x"
        assert "Torque" in pages(read(wiki))["ENG/101/att1"].page.text
        assert media.tokens == [""]
        media.failing = {"/download/attachments/1/f": 401}  # that address has expired
        assert [item.path for item in read(wiki) if isinstance(item, Broken)] == ["ENG/101/att1"]


def test_a_sync_keeps_the_earlier_text_of_a_file_with_the_rights_of_now(
    wiki: Wiki, tmp_path: Path
) -> None:
    opened = partial(writing, tmp_path / "index.db")
    spec = {"kind": "confluence", "site_url": ""}
    done = sync.sync(source(wiki), opened, spec=spec)
    assert "ENG/101/att1" in done.added
    wiki.files["att1"].version, wiki.pages["101"].readers = 2, ("board",)
    wiki.failing = {"/download/attachments/101/pump%20manual.pdf": 403}
    done = sync.sync(source(wiki), opened, spec=spec)
    assert [one.path for one in done.broken] == ["ENG/101/att1"]
    with opened() as writer:
        assert writer.groups(done.source)["ENG/101/att1"] == (frozenset({"board"}), STAFF)
    done = sync.sync(source(wiki, attachments=False), opened, spec=spec)
    assert done.removed == ("ENG/101/att1", "ENG/102/att2")
    index = Index(tmp_path / "index.db")
    assert index.size == 2
    index.close()


def test_what_has_no_text_is_downloaded_once_for_each_version_and_named_at_each_sync(
    wiki: Wiki, tmp_path: Path
) -> None:
    def synced() -> list[str]:
        wiki.asked.clear()
        done = sync.sync(source(wiki), opened, spec={"kind": "confluence", "site_url": ""})
        return [f"{one.path}: {one.why}" for one in done.left_out]

    opened = partial(writing, tmp_path / "index.db")
    wiki.files["att1"] = Attached("101", "scan.pdf", office.pdf([""], picture=True), PDF_TYPE)
    wiki.pages["102"].body = '<ac:structured-macro ac:name="children" />'
    left_out = ["ENG/101/att1: " + pdf.SCANNED, "ENG/102: no text"]
    assert synced() == left_out
    assert len(downloads(wiki)) == 2
    assert synced() == left_out
    assert downloads(wiki) == []
    assert not [path for path in wiki.asked if path.endswith(("/v2/pages", "/content/102"))]
    wiki.files["att1"].version = 2
    wiki.files["att1"].data = PDF
    assert synced() == left_out[1:]
    assert len(downloads(wiki)) == 1
