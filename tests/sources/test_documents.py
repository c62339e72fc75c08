"""Documents in a wiki's folder: PDF, Word, slides, sheets, books, notebooks and the like."""

import json
import tracemalloc
import zlib
from pathlib import Path

import pytest

from tests.sources import office
from tests.sources.conftest import SITE
from wiki.pages.page import Page
from wiki.sources.apart import Item
from wiki.sources.documents import archive, pdf, reading, sheets
from wiki.sources.folder import Folder
from wiki.sources.source import Broken, Changed, LeftOut, Unchanged
from wiki.sources.tree import Tree

LINE = "The pump is bled before the first start, and its valve is opened slowly."


def read(folder: Path, files: dict[str, str | bytes]) -> list[Item]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        data = content if isinstance(content, bytes) else content.encode()
        (folder / name).write_bytes(data)
    return list(Folder(folder, SITE).read({}))


def one(folder: Path, name: str, content: str | bytes) -> Page:
    """The page that a folder of one file has."""
    [item] = read(folder / "wiki", {name: content})
    assert isinstance(item, Changed), item
    return item.page


def why(folder: Path, name: str, content: str | bytes) -> str:
    """Why the file is not a page."""
    [item] = read(folder / "wiki", {name: content})
    assert isinstance(item, Broken | LeftOut), item
    return item.why


def places(page: Page) -> list[tuple[tuple[str, ...], str]]:
    return [(section.path, section.anchor) for section in page.sections]


def test_a_pdf_has_a_section_for_each_heading_and_page_with_the_page_as_anchor(
    tmp_path: Path,
) -> None:
    data = office.pdf(
        [f"Installation\n{LINE}\nBleeding\n{LINE}", f"Torque is 40 Nm.\nCare\n{LINE}"],
        [("Installation", 0), ("Bleeding", 0), ("Care", 1)],
    )
    page = one(tmp_path, "manuals/pump manual.pdf", data)
    assert page.title == "Pump manual"
    assert page.url == f"{SITE}manuals/pump%20manual.pdf"
    assert places(page) == [
        (("Installation",), "page=1"),
        (("Bleeding",), "page=1"),
        (("Bleeding",), "page=2"),
        (("Care",), "page=2"),
    ]
    assert page.sections[2].body == "Torque is 40 Nm."
    assert page.section_url(page.sections[3]).endswith("pump%20manual.pdf#page=2")


def test_running_heads_and_page_numbers_of_a_pdf_are_left_out(tmp_path: Path) -> None:
    pages = [f"ACME manual\n{LINE}\nStep {n}\n{LINE}\n{n} of 6" for n in range(1, 7)]
    page = one(tmp_path, "a.pdf", office.pdf(pages))
    assert places(page)[0] == (("Page 1",), "page=1")
    assert [section.body for section in page.sections] == [
        f"{LINE} Step {n}\n\n{LINE}" for n in range(1, 7)
    ]


def test_a_scanned_pdf_is_named_and_so_are_single_pages_that_are_pictures(tmp_path: Path) -> None:
    assert why(tmp_path, "scan.pdf", office.pdf(["", ""], picture=True)) == pdf.SCANNED
    page = one(tmp_path / "mixed", "a.pdf", office.pdf([LINE, "", LINE], picture=True))
    assert "page 2 is a picture without text" in page.text


def test_the_title_and_the_headings_of_a_word_document_are_those_of_its_styles(
    tmp_path: Path,
) -> None:
    data = office.docx(
        [
            ("Title", "Handbook"),
            ("Normal", "Welcome."),
            ("heading 1", "Travel"),
            ("Normal", "By train."),
            ("heading 2", "Hotels"),
            ("Normal", "Up to 120 euros."),
        ]
    )
    page = one(tmp_path, "a.docx", data)
    assert page.title == "Handbook"
    assert places(page) == [((), ""), (("Travel",), ""), (("Travel", "Hotels"), "")]
    assert page.sections[2].body == "Up to 120 euros."


def test_slides_are_sections_with_their_notes(tmp_path: Path) -> None:
    page = one(tmp_path, "a.pptx", office.pptx("Plan", ["Freeze", "Ship *it*"], "Tell support."))
    assert page.sections[0].text == (
        "## Plan\n\n- Freeze\n- Ship \\*it\\*\n\nNotes:\n\nTell support."
    )


def test_sheets_are_tables(tmp_path: Path) -> None:
    page = one(tmp_path, "a.xlsx", office.xlsx([["Plan", "Euro"], ["Basic", "10 | 12"]]))
    assert page.sections[0].text == (
        "## Prices\n\n| Plan | Euro |\n| --- | --- |\n| Basic | 10 \\| 12 |"
    )


def test_a_book_has_its_chapters_as_sections(tmp_path: Path) -> None:
    chapters = {"1.xhtml": "<h1>Pumps</h1><p>Wet.</p><h2>Care</h2><p>Oil.</p>"}
    page = one(tmp_path, "a.epub", office.epub("Machines", chapters))
    assert page.title == "Machines"
    assert places(page) == [(("Pumps",), ""), (("Pumps", "Care"), "")]


def test_restructured_text_is_read_with_the_directives_of_sphinx_and_includes_nothing(
    tmp_path: Path,
) -> None:
    text = (
        "Guide\n=====\n\n.. _start:\n\nGetting started\n---------------\n\n"
        "Use :ref:`the other <x>` or :py:func:`~pkg.run`.\n\n"
        ".. code-block:: python\n\n   x = 1\n\n.. versionadded:: 2.0\n   Something new.\n\n"
        ".. include:: /etc/passwd\n\n.. raw:: html\n\n   <b>raw</b>\n\n"
        ".. toctree::\n\n   other\n"
    )
    page = one(tmp_path, "a.rst", text)
    assert page.title == "Guide"
    assert places(page) == [((), "guide"), (("Getting started",), "start")]
    body = page.sections[1].body
    assert "Use the other or `run`." in body or "Use the other or run." in body
    assert "```python\nx = 1\n```" in body
    assert "Something new." in body
    assert "(includes the file /etc/passwd)" in body
    assert "root:" not in body
    assert "raw" not in body


def test_pages_of_a_sphinx_project_lead_to_the_html_that_is_built_of_them(tmp_path: Path) -> None:
    items = read(tmp_path / "wiki", {"conf.py": "", "guide/a.rst": "A\n=\n\nText."})
    assert [item.page.url for item in items if isinstance(item, Changed)] == [f"{SITE}guide/a.html"]


def test_asciidoc_has_the_anchors_of_asciidoctor(tmp_path: Path) -> None:
    text = (
        "= Manual\n:v: 3.1\n\nIntro for {v}.\n\n== Getting *started* now\n\n[source,bash]\n----\n"
        "make install <1>\n----\n\n[[own]]\n=== Deeper\n\nNOTE: Careful with `this`.\n\n"
        "See https://x.example/a[the page].\n\n|===\n|A |B\n\n|1 |2\n|===\n\n"
        "== Getting started now\n\ninclude::../secret.adoc[]\n"
    )
    page = one(tmp_path, "a.adoc", text)
    assert page.title == "Manual"
    assert [section.anchor for section in page.sections] == [
        *("", "_getting_started_now", "own", "_getting_started_now_2"),
    ]
    assert page.sections[0].body == "Intro for 3.1."
    assert page.sections[1].body == "```bash\nmake install\n```"
    assert "[the page](https://x.example/a)" in page.sections[2].body
    assert "| A | B |\n| --- | --- |\n| 1 | 2 |" in page.sections[2].body
    assert "(includes the file ../secret.adoc)" in page.sections[3].body


def test_a_notebook_is_text_and_code(tmp_path: Path) -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Load the Data\n", "\n", "Text"]},
        {"cell_type": "code", "source": 'print("```")', "outputs": [{"text": "secret"}]},
    ]
    page = one(tmp_path, "a.ipynb", json.dumps({"cells": cells, "nbformat": 4}))
    assert places(page) == [((), "Load-the-Data")]
    assert page.text == '# Load the Data\n\nText\n\n````python\nprint("```")\n````'


@pytest.mark.parametrize("name", ["api.json", "api.yaml"])
def test_a_description_of_an_api_has_a_section_for_each_operation(
    tmp_path: Path, name: str
) -> None:
    schema = {"properties": {"name": {"type": "string"}}, "required": ["name"]}
    api = {
        "openapi": "3.0.3",
        "info": {"title": "Pet API", "description": "Keeps pets."},
        "paths": {
            "/pets/{id}": {
                "parameters": [{"$ref": "#/components/parameters/Id"}],
                "get": {"tags": ["pets"], "responses": {"404": {"description": "No pet"}}},
                "post": {"requestBody": {"content": {"application/json": {
                    "schema": {"$ref": "#/components/schemas/Pet"}}}}},
            }
        },
        "components": {
            "parameters": {"Id": {"name": "id", "in": "path", "required": True,
                                  "schema": {"type": "integer"}}},
            "schemas": {"Pet": schema},
        },
    }  # fmt: skip
    files: dict[str, str | bytes] = {name: json.dumps(api), "config.yaml": "a: 1", "b.json": "{}"}
    [item] = read(tmp_path / "wiki", files)
    assert isinstance(item, Changed)
    assert item.page.title == "Pet API"
    assert [section.heading for section in item.page.sections] == [
        *("", "GET /pets/{id}", "POST /pets/{id}"),
    ]
    assert "| id | path | integer | yes |" in item.page.text
    assert "| 404 | No pet |" in item.page.text
    assert "| name | string | yes |" in item.page.text


def test_what_is_not_read_is_named_and_programs_own_texts_are_no_pages(tmp_path: Path) -> None:
    items = read(
        tmp_path / "wiki",
        {
            "a.md": "Text", "a.txt": "built from", "notes.txt": "Notes.", "old.doc": "x",
            "requirements-dev.txt": "x", "robots.txt": "x", "empty.txt": "",
            "wrong.txt": b"\xff\xfe\x00", "latin.txt": b"\xe4", "static/app.js": "x",
            "b.html": "<p>Text", "c.textile": "h1. C", "d.CSV": "a,b", "e.docm": "x",
        },
    )  # fmt: skip
    assert [item.page.path for item in items if isinstance(item, Changed)] == ["a.md", "notes.txt"]
    assert {item.path: item.why for item in items if isinstance(item, LeftOut)} == {
        "a.txt": "copy of another page",
        "empty.txt": "no text",
        "old.doc": "old Word document: save it as DOCX",
        "b.html": "HTML in a folder of Markdown: sync its folder with --kind html",
        "c.textile": "Textile text: convert it to Markdown",
        "d.CSV": "table as text: save it as XLSX",
        "e.docm": "Word document with macros: save it as DOCX",
    }
    assert [item.path for item in items if isinstance(item, Broken)] == ["latin.txt", "wrong.txt"]


def test_a_document_that_is_as_it_was_is_not_read_again(tmp_path: Path) -> None:
    items = read(tmp_path / "wiki", {"a.md": "Text", "b.pdf": office.pdf([LINE])})
    known = {item.page.path: item.stamp for item in items if isinstance(item, Changed)}
    assert list(Folder(tmp_path / "wiki", SITE).read(known)) == [
        *(Unchanged("a.md"), Unchanged("b.pdf")),
    ]


def test_archives_that_unpack_to_more_than_they_may_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bomb: 200 KiB that stand for 200 MiB; nothing is unpacked to find out."""
    bomb = office.packed({"word/document.xml": b" " * 2 * archive.LARGEST})
    assert why(tmp_path, "a.docx", bomb) == "is larger than 64 MiB unpacked"
    monkeypatch.setattr(archive, "MEMBERS", 10)
    many = office.packed({f"{n}.xml": "" for n in range(11)})
    assert why(tmp_path, "a.docx", many) == "holds more than 10 files"


@pytest.mark.parametrize("name", ["word/document.xml", "xl/worksheets/sheet1.xml"])
def test_an_archive_that_lies_about_its_sizes_is_not_unpacked_beyond_them(
    tmp_path: Path, name: str
) -> None:
    """The second of two barriers: the sum of the sizes would let it in."""
    size = 33_445_566
    bomb = office.packed({name: b" " * size})
    true, lie = (number.to_bytes(4, "little") for number in (size, 100))
    assert bomb.count(true) == 2  # in front of the member, and in the directory
    lying = bomb.replace(true, lie)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="cannot be unpacked: Bad CRC-32"):
            archive.Archive(lying).read(name)
        assert tracemalloc.get_traced_memory()[1] < size / 8
    finally:
        tracemalloc.stop()
    file = "a.xlsx" if name.startswith("xl/") else "a.docx"
    assert "cannot be unpacked: Bad CRC-32" in why(tmp_path, file, lying)
    # A checksum of the part that the directory tells of hides nothing either.
    for length in (100, 101):
        sums = (zlib.crc32(b" " * number).to_bytes(4, "little") for number in (size, length))
        forged = lying.replace(*sums)
        assert forged != lying
        found = why(tmp_path, file, forged)
        assert "is larger than" in found or "cannot be unpacked: Bad CRC-32" in found


@pytest.mark.parametrize("name", ["a.docx", "a.xlsx"])
def test_office_documents_may_be_larger_than_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Pictures are most of them."""
    monkeypatch.setattr(reading, "LARGEST_TEXT", 1_000)
    data = office.docx([("Normal", LINE)]) if name == "a.docx" else office.xlsx([[LINE]])
    assert len(data) > reading.LARGEST_TEXT
    assert LINE in one(tmp_path, name, data).text


@pytest.mark.parametrize("suffix", ["docx", "epub", "pdf", "pptx", "xlsx"])
def test_what_is_no_such_document_is_named(tmp_path: Path, suffix: str) -> None:
    for number, data in enumerate((b"", b"PK\x03\x04", office.packed({"a.xml": "<a/>"}))):
        assert why(tmp_path / str(number), f"a.{suffix}", data)


def test_a_document_type_which_could_define_entities_without_end_is_refused(tmp_path: Path) -> None:
    lol = "".join(f'<!ENTITY l{n + 1} "{f"&l{n};" * 10}">' for n in range(9))
    bomb = office.docx([("Normal", "&l9;")], f'<!DOCTYPE w [<!ENTITY l0 "lol">{lol}]>')
    assert "has an XML document type" in why(tmp_path, "a.docx", bomb)
    utf16 = '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a><a/>'.encode("utf-16")
    book = office.packed({"META-INF/container.xml": utf16})
    assert "has an XML document type" in why(tmp_path / "b", "a.epub", book)


def test_a_sheet_of_data_and_an_endless_pdf_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheets, "CELLS", 100)
    data = office.xlsx([["a", "b"]] * 51)
    assert "up to 100 cells are read" in why(tmp_path, "a.xlsx", data)
    monkeypatch.setattr(pdf, "PAGES", 3)
    assert "has 4 pages, more than 3" in why(tmp_path / "b", "a.pdf", office.pdf([LINE] * 4))


def test_a_beginning_is_read_of_a_file_of_any_size(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("x" * 10_000)
    assert Tree(tmp_path).beginning("a.json", 10) == b"x" * 10
    assert Tree(tmp_path).beginning("b.json", 10) == b""


def test_a_sheet_with_a_cell_at_its_far_corner_is_read_without_the_empty_ones(
    tmp_path: Path,
) -> None:
    """17 thousand million cells, all but three of them empty."""
    page = one(tmp_path, "a.xlsx", office.xlsx([["a", "b"]], corner="XFD1048576"))
    assert page.text == "## Prices\n\n| a | b |  |\n| --- | --- | --- |\n|  |  | far |"
