"""Workbooks (XLSX), read by calamine: one section per sheet, as a table."""

import io
from typing import Any

import python_calamine

from gateway.knowledge.sources import sections
from gateway.knowledge.sources.documents.archive import Archive
from gateway.knowledge.sources.documents.made import section, table
from gateway.knowledge.wiki.page import Page

# Maximum cells of a sheet; larger ones are data rather than text for people.
CELLS = 200_000


def page(data: bytes, path: str, url: str) -> Page:
    """Read a workbook. Raises ValueError: it is invalid, or has too large a sheet."""
    Archive(data).check()
    try:
        workbook = python_calamine.load_workbook(io.BytesIO(data))
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


def _shown(cell: Any) -> str:
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell)
