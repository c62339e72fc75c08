"""Reading a wiki in a process of its own: what a page can do to it, and what it cannot."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from core.errors import AskdocsError
from tests.sources import office
from tests.sources.conftest import SITE, Write
from wiki.rights import NOBODY
from wiki.sources import apart
from wiki.sources.apart import Apart, Item
from wiki.sources.folder import Folder
from wiki.sources.source import Broken, Changed, Unchanged
from wiki.sources.spec import Spec


def read(root: Path, known: dict[str, str] | None = None) -> list[Item]:
    return list(Apart(str(root), "mkdocs", SITE).read(known or {}))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The process holds pages to limits that a test can wait for."""
    (tmp_path / "limits").mkdir()
    (tmp_path / "limits" / "sitecustomize.py").write_text(
        "import os, signal\n"
        "from wiki.sources import bounded\n"
        "from wiki.sources.mkdocs import MkDocs\n"
        "bounded.SECONDS, bounded.HARD, bounded.MEMORY = 1.0, 2.0, 2**30\n"
        "page = MkDocs.page\n"
        "def read(self, path, text, trail):\n"
        "    if 'HANG' in text:\n"
        "        while True: pass\n"
        "    if 'DEAF' in text:\n"  # as a parser in C that does not come back
        "        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGVTALRM})\n"
        "        while True: pass\n"
        "    if 'FILL' in text: bytearray(2**31)\n"
        "    if 'CRASH' in text: os.kill(os.getpid(), 11)\n"
        "    if 'LEAVE' in text: os._exit(3)\n"
        "    return page(self, path, text, trail)\n"
        "MkDocs.page = read\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "limits"))


def test_what_is_read_apart_is_what_is_read_here(write: Write) -> None:
    root = write(
        {
            "a.md": "# A\n\n## B {#own}\n\nText",
            "b.md": "",
            "c.md": "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
        }
    )
    (root / "d.md").write_bytes(b"\xff")
    assert read(root) == list(Folder(root, SITE, "mkdocs").read({}))
    stamps = {one.page.path: one.stamp for one in read(root) if isinstance(one, Changed)}
    assert [one.path for one in read(root, stamps) if isinstance(one, Unchanged)] == list(stamps)


def test_the_groups_of_a_page_that_cannot_be_read_come_back() -> None:
    items: list[Item] = [Broken("a", "no"), Broken("b", "no", NOBODY), Broken("c", "no", ())]
    lines: list[list[Any]] = []
    for item in items:
        apart._say(item, lambda *words: lines.append(orjson.loads(orjson.dumps(words))))
    assert [apart._item(kind, said)[0] for kind, *said in lines] == items


@pytest.mark.usefixtures("quick")
@pytest.mark.slow
def test_a_page_that_hangs_or_fills_or_crashes_is_named_and_the_others_are_read(
    write: Write,
) -> None:
    names = ("HANG", "DEAF", "FILL", "CRASH", "LEAVE")
    pages = {f"{name.lower()}.md": f"# {name}" for name in names}
    root = write({"a.md": "# A\n\nText", **pages, "z.md": "# Z\n\nText"})
    found = read(root)
    assert [one.page.path for one in found if isinstance(one, Changed)] == ["a.md", "z.md"]
    assert {one.path: one.why for one in found if isinstance(one, Broken)} == {
        "hang.md": "takes more than 1 s to read",
        "deaf.md": "takes more than 45 s to read",
        "fill.md": "takes more than 1 GiB of memory to read",
        "crash.md": "needs too much memory, or crashes the reader",
        "leave.md": "ended with the exit code 3",
    }


@pytest.mark.usefixtures("quick")
@pytest.mark.slow
def test_a_sync_goes_on_after_any_number_of_pages_that_end_its_reader(write: Write) -> None:
    head = "---\ngroups: hr\n---\n"
    bad = {f"{n}.md": f"{head}LEAVE" for n in range(25)}
    root = write({"a.md": "Text", **bad, "z.md": "Text"})
    (root / "forms.pdf").write_bytes(office.nested_forms(11))
    found = read(root)
    assert [one.page.path for one in found if isinstance(one, Changed)] == ["a.md", "z.md"]
    broken = {one.path: one.groups for one in found if isinstance(one, Broken)}
    # Also the rights of pages that cannot be read are known.
    assert broken == {**dict.fromkeys(bad, (frozenset({"hr"}),)), "forms.pdf": None}


def test_errors_come_back_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(AskdocsError, match="does not exist: name the folder of your wiki"):
        read(tmp_path / "nowhere")


def test_a_folder_has_no_feed(write: Write) -> None:
    root = write({"a.md": "Text"})
    with pytest.raises(AskdocsError, match="has no feed of edited pages"):
        list(Apart(str(root), "mkdocs", SITE).recent({}))


def test_no_module_is_imported_from_the_folder_that_it_runs_in(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`cd wiki; askdocs docs sync .` must not run the wiki's `yaml.py`."""
    root = write({"a.md": "Text", "gateway.py": "raise SystemExit", "yaml.py": "raise SystemExit"})
    monkeypatch.chdir(root)
    assert [type(one) for one in read(root)] == [Changed]


def test_a_reading_that_is_broken_off_leaves_no_process(write: Write) -> None:
    root = write({f"{n}.md": "Text" for n in range(50)})
    reading = Apart(str(root), "mkdocs", SITE).read({})
    next(reading)
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    if not children.exists():
        pytest.skip("this system does not list children")
    before = children.read_text().split()
    reading.close()
    assert len(children.read_text().split()) < len(before)


def test_a_page_that_includes_itself_is_read_in_the_time_of_one(write: Write) -> None:
    root = write({"a.md": "Text\n" + '--8<-- "a.md"\n' * 5000, "b.md": "Text"})
    found = list(Folder(root, SITE).read({}))
    assert [one.path for one in found if isinstance(one, Broken)] == ["a.md"]
    assert "includes more than 16 MiB" in str(found)


@pytest.mark.slow
def test_includes_that_double_end(write: Write) -> None:
    """Thirty files, each of which includes the next one twice: 10^9 times the last."""
    parts = {f"{n}.md": f"<!--@include: ./{n + 1}.md-->\n" * 2 + "x" * 100 for n in range(18)}
    root = write({**parts, "18.md": "x" * 100, ".vitepress/config.ts": ""})
    found = list(Folder(root, SITE).read({}))
    assert any(isinstance(one, Broken) and "includes more than" in one.why for one in found)


def test_the_wiki_that_a_person_names_is_read_apart(write: Write) -> None:
    assert isinstance(Spec.named(str(write({"a.md": "x"}))).open(), Apart)


def test_the_process_starts_without_pydantic_which_takes_a_third_of_its_start() -> None:
    code = "import sys, wiki.sources.apart, wiki.sources.folder;"
    ends = subprocess.run([sys.executable, "-c", f"{code} sys.exit('pydantic' in sys.modules)"])
    assert ends.returncode == 0
