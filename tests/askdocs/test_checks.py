import os
import shutil
import socket
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from askdocs.state.home import Home
from askdocs.supervision import checks
from askdocs.supervision.checks import Check
from askdocs.supervision.settings import UpSettings
from core.settings import load
from tests.sources.office import docx

Usage = namedtuple("Usage", "total used free")


def settings(**given: Any) -> UpSettings:
    """Ports that are free unless the test takes them."""
    ports = {f"{name}_port": checks.free_port() for name in ("gateway", "widget", "site")}
    return load(UpSettings, env={}, **{**ports, **given})


def failing(found: Iterator[Check] | list[Check]) -> list[Check]:
    """The failing ones, each of which says what is and what to do."""
    bad = [check for check in found if not check.ok]
    for check in bad:
        assert check.found
        assert check.fix
        assert check.line() == f"{check.name}: {check.found}: {check.fix}"
        assert "\n" not in check.line()
    return bad


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_all_is_well_with_a_wiki_and_free_ports(wiki: Path, home: Home) -> None:
    found = checks.before_start(settings(docs=str(wiki)), home)
    assert failing(found) == []
    assert Check("wiki", True, f"2 Markdown pages in {wiki}") in found
    assert {"machine", "processor", "memory", "disk"} <= {check.name for check in found}


def test_a_port_in_use_names_the_port_the_process_and_the_option(taken: int) -> None:
    (check,) = failing(checks.ports(settings(widget_port=taken)))
    assert check.name == "widget port"
    name = psutil.Process().name()
    assert check.found == f"{taken} is in use by {name} (process {os.getpid()})"
    assert "--widget-port N" in check.fix


def test_a_port_on_all_addresses_is_in_use_here_too() -> None:
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))
        listener.listen()
        assert not checks.is_free(listener.getsockname()[1])


def test_a_port_that_was_just_let_go_is_free() -> None:
    with socket.socket() as listener, socket.socket() as client:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        client.connect(("127.0.0.1", port))
        served, _ = listener.accept()
        served.close()  # the side that closes first keeps the port in TIME_WAIT
    assert checks.is_free(port)


def test_a_free_port_is_none_that_linux_gives_to_who_asks_for_any() -> None:
    with socket.socket() as anyone:
        anyone.bind(("127.0.0.1", 0))
        given = anyone.getsockname()[1]
    assert max(checks.free_port() for _ in range(100)) < min(given, 32768)


def test_a_free_port_is_none_that_the_settings_name(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = iter([0, 1, 2])  # from 20,000 on
    monkeypatch.setattr(checks.secrets, "randbelow", lambda most: next(draws))
    monkeypatch.setattr(checks.socket.socket, "bind", lambda self, address: None)
    assert checks.free_port(20_000, 20_001) == 20_002


def test_two_equal_ports_name_both_wishes() -> None:
    port = checks.free_port()
    (check,) = failing(checks.ports(settings(gateway_port=port, site_port=port)))
    assert check.name == "site port"
    assert check.found == f"{port} is also the port of gateway"
    assert check.fix == "choose another --site-port N"


def test_an_empty_wiki_names_the_folder_and_the_option(tmp_path: Path, home: Home) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "picture.png").touch()
    (check,) = failing(checks.wiki(settings(docs=str(empty)), home))
    assert check.found.startswith(f"{empty} has no Markdown page")
    assert "--docs DIR" in check.fix


def test_a_folder_of_formats_that_are_not_read_says_in_which_to_save_them(
    tmp_path: Path, home: Home
) -> None:
    (tmp_path / "guide.odt").touch()
    (check,) = failing(checks.wiki(settings(docs=str(tmp_path)), home))
    assert check.fix.startswith("guide.odt is OpenDocument text: save it as DOCX, or name the")


def test_documents_alone_are_a_wiki_and_one_without_text_is_refused_at_once(
    tmp_path: Path, home: Home
) -> None:
    papers = tmp_path / "papers"
    papers.mkdir()
    (papers / "notes.txt").touch()
    (papers / "scan.pdf").write_bytes(b"%PDF-1.4")
    (check,) = failing(checks.wiki(settings(docs=str(papers)), home))
    assert check.found.startswith(f"{papers} has no page with text: ")
    assert "scan.pdf: not read: " in check.found
    assert check.fix == "write some text, or name another --docs DIR"
    (papers / "travel.docx").write_bytes(docx([("Title", "Travel"), ("Normal", "By train.")]))
    (check,) = checks.wiki(settings(docs=str(papers)), home)
    assert check == Check("wiki", True, f"3 documents in {papers}")


def test_a_wiki_whose_only_page_is_too_large_is_reported_to_split_it(
    tmp_path: Path, home: Home
) -> None:
    (tmp_path / "notes.md").write_text("All notes of the team.\n" * 200_000)
    (check,) = failing(checks.wiki(settings(docs=str(tmp_path)), home))
    assert check.found.endswith("notes.md: not read: larger than 4 MiB")
    assert check.fix == "split that page, or name another --docs DIR"


def test_a_missing_wiki_and_one_that_is_a_file_are_reported_apart(
    tmp_path: Path, home: Home
) -> None:
    (tmp_path / "page.md").touch()
    (missing,) = failing(checks.wiki(settings(docs=str(tmp_path / "none")), home))
    (file,) = failing(checks.wiki(settings(docs=str(tmp_path / "page.md")), home))
    assert "none does not exist" in missing.found
    assert "page.md is a file" in file.found
    assert "--docs DIR" in missing.fix
    assert "--docs DIR" in file.fix


def test_a_folder_of_html_and_a_site_are_wikis_too(tmp_path: Path, home: Home) -> None:
    export = tmp_path / "export"
    export.mkdir()
    (export / "page.html").write_text("<h1>Page</h1><p>Some words.</p>")
    assert [*checks.wiki(settings(docs=str(export)), home)] == [
        Check("wiki", True, f"1 HTML pages in {export}")
    ]
    (export / "page.html").write_text("<h1> </h1>")
    (check,) = failing(checks.wiki(settings(docs=str(export)), home))
    assert check.found == f"{export} has no page with text: every page is empty"
    site = "https://wiki.example.com/"
    assert [*checks.wiki(settings(docs=site), home)] == [Check("wiki", True, f"the site {site}")]


@pytest.mark.parametrize("way", ["plain", "dots", "link"])
def test_a_home_inside_the_wiki_is_refused_however_it_is_written(wiki: Path, way: str) -> None:
    docs = {"plain": wiki, "dots": wiki / ".." / "wiki", "link": wiki.with_name("link")}[way]
    if way == "link":
        docs.symlink_to(wiki)
    (check,) = failing(checks.wiki(settings(docs=str(docs)), Home(wiki / "state")))
    assert f"{wiki / 'state'} lies inside the wiki" in check.found
    assert "--home DIR" in check.fix


def test_a_home_beside_the_wiki_is_fine(wiki: Path) -> None:
    assert not failing(checks.wiki(settings(docs=str(wiki)), Home(wiki.with_name("wiki-state"))))


def test_too_little_memory_says_how_much_there_is_and_how_much_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=2**30))
    (check,) = failing([checks.memory(settings())])
    assert check.found == "1.0 GiB available"
    assert f"{checks.MEMORY_GIB} GiB are needed" in check.fix
    (vllm,) = failing([checks.memory(settings(engine="vllm"))])
    assert f"{checks.MEMORY_GIB_VLLM} GiB are needed" in vllm.fix
    assert checks.memory(settings(engine_url="http://127.0.0.1:1/v1")).ok


def test_a_large_model_file_needs_more_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "large.gguf").open("wb") as file:
        file.truncate(10 * 2**30)  # of which nothing lies on the disk
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=8 * 2**30))
    assert checks.memory(settings()).ok
    (check,) = failing([checks.memory(settings(model=str(tmp_path / "large.gguf")))])
    assert "13.6 GiB are needed" in check.fix


def test_a_full_disk_names_the_folder_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 10**12, 10**8))
    (check,) = failing([checks.disk(Home(tmp_path / "a" / "b" / "home"))])
    assert check.found == f"0.1 GB free in {tmp_path}"
    assert "0.5 GB are needed" in check.fix


def test_a_processor_without_avx2_is_refused_unless_the_engine_is_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checks, "_cpu_flags", lambda: {"sse4_2", "avx"})
    (check,) = failing([checks.processor(settings())])
    assert "without AVX2" in check.found
    assert "--engine-url" in check.fix
    assert checks.processor(settings(engine_url="http://127.0.0.1:1/v1")).ok


def test_another_operating_system_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    (check,) = failing([checks.machine()])
    assert "WSL 2" in check.fix
