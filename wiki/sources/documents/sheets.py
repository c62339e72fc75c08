"""Workbooks (XLSX), read by calamine: one section per sheet, as a table."""

import io
import re
import zipfile
from bisect import bisect_left
from typing import Any

import python_calamine

from wiki.pages.page import Page
from wiki.sources import sections
from wiki.sources.documents.archive import Archive
from wiki.sources.documents.made import section, table

# Maximum cells of a sheet; larger ones are data rather than text for people.
CELLS = 200_000
# A workbook that is written otherwise, to deceive these, ends only its reader process.
_CELL = re.compile(rb"""(<(?:\w+:)?c\s(?:[^<>]*?\s)?r=["'])([A-Z]{1,3})(\d{1,7})(?=["'])""")
_ROW = re.compile(rb"""(<(?:\w+:)?row\s(?:[^<>]*?\s)?r=["'])(\d{1,7})(?=["'])""")
_DIMENSION = re.compile(rb"<(?:\w+:)?dimension\s[^<>]*>")


def page(data: bytes, path: str, url: str) -> Page:
    """Read a workbook. Raises ValueError: it is invalid, or has too large a sheet."""
    Archive(data).check()
    try:
        workbook = python_calamine.load_workbook(io.BytesIO(_closed_up(data)))
        sheets = []
        for about in workbook.sheets_metadata:
            if about.typ is not python_calamine.SheetTypeEnum.WorkSheet:
                continue
            if about.visible is not python_calamine.SheetVisibleEnum.Visible:
                continue
            sheet = workbook.get_sheet_by_name(about.name)
            if sheet.height * sheet.width > CELLS:
                raise ValueError(
                    f"its sheet {about.name!r} has {sheet.height:,} rows of {sheet.width:,} cells;"
                    f" up to {CELLS:,} cells are read"
                )
            rows = [[_shown(cell) for cell in row] for row in sheet.to_python()]
            if text := table(rows):
                sheets.append(section(about.name, (), text))
    except python_calamine.CalamineError as error:
        raise ValueError(f"is not a readable workbook: {error}") from None
    return Page(path, sections.name(path), url, tuple(sheets))


def _closed_up(data: bytes) -> bytes:
    """The workbook without the empty rows and columns of sheets with cells far apart: the library
    allocates all cells between them, and `table` drops empty rows and columns anyway."""
    archive = Archive(data)
    changed: dict[str, bytes] = {}
    for name in archive.names:
        if not name.startswith("xl/worksheets/") or not name.endswith(".xml"):
            continue
        sheet = archive.read(name)
        cells = _CELL.findall(sheet)
        rows = sorted({int(row) for _, _, row in cells})
        columns = sorted({column for _, column, _ in cells}, key=lambda name: (len(name), name))
        if not rows or rows[-1] * _column(columns[-1]) <= CELLS:
            continue
        if len(rows) * len(columns) > CELLS:
            raise ValueError(
                f"has a sheet of {len(rows):,} rows of {len(columns):,} cells; up to {CELLS:,}"
                " cells are read"
            )
        places = {name: _name(number) for number, name in enumerate(columns)}

        def row_at(written: bytes, rows: list[int] = rows) -> bytes:
            return b"%d" % (bisect_left(rows, int(written)) + 1)

        def cell_at(cell: re.Match[bytes], places: dict[bytes, bytes] = places) -> bytes:
            return cell[1] + places[cell[2]] + row_at(cell[3])

        sheet = _CELL.sub(cell_at, _DIMENSION.sub(b"", sheet))
        changed[name] = _ROW.sub(lambda row: row[1] + row_at(row[2]), sheet)
    if not changed:
        return data
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        for name in archive.names:
            if name.endswith((".xml", ".rels", ".bin")):
                packed.writestr(name, changed.get(name) or archive.read(name))
    return out.getvalue()


def _column(name: bytes) -> int:
    """The number of a column: 1 for A, 27 for AA."""
    number = 0
    for letter in name:
        number = number * 26 + letter - 64
    return number


def _name(number: int) -> bytes:
    """The name of a column, counted from 0."""
    name = b""
    number += 1
    while number:
        number, letter = divmod(number - 1, 26)
        name = bytes([65 + letter]) + name
    return name


def _shown(cell: Any) -> str:
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell)
