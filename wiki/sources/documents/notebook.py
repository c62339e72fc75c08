"""Jupyter notebooks (IPYNB): text and code, without outputs."""

import json
from typing import Any

from wiki.pages.page import Page
from wiki.sources.documents.made import fenced, from_markdown
from wiki.sources.tree import decode


def page(data: bytes, path: str, url: str) -> Page:
    """Read a notebook of version 3 or 4. Raises ValueError: it is invalid."""
    try:
        notebook = json.loads(decode(data))
        if "cells" in notebook:
            cells = notebook["cells"]
        else:
            cells = [cell for sheet in notebook["worksheets"] for cell in sheet["cells"]]
        about = notebook.get("metadata") or {}
        language = str((about.get("kernelspec") or {}).get("language") or "python")
        text = "\n\n".join(filter(None, (_cell(cell, language) for cell in cells)))
    except (TypeError, KeyError, AttributeError, RecursionError, json.JSONDecodeError) as error:
        raise ValueError(f"is not a notebook: {type(error).__name__}: {error}") from None
    # Jupyter preserves the case of a heading in its anchor.
    return from_markdown(text, path, url, lambda heading: "-".join(heading.split()))


def _cell(cell: dict[str, Any], language: str) -> str:
    source = cell.get("source", cell.get("input", ""))
    text = "".join(source) if isinstance(source, list) else str(source)
    if not text.strip():
        return ""
    if cell["cell_type"] == "code":
        return fenced(text, str(cell.get("language") or language))
    if cell["cell_type"] == "heading":
        return f"{'#' * min(6, int(cell.get('level', 1)))} {' '.join(text.split())}"
    return text if cell["cell_type"] == "markdown" else ""
