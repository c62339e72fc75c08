"""A wiki as a folder of Markdown files."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gateway.errors import AskdocsError
from gateway.sources.markdown import parse
from gateway.wiki.page import Page

SUFFIXES = (".md", ".markdown")
# A page is a document for people; more than this is a log or a dump, and would stall every build.
LARGEST = 4 * 2**20


@dataclass
class Reading:
    """What reading a folder gave: the pages, and a line for each file that could not be read."""

    pages: list[Page] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def files(folder: Path) -> Iterator[Path]:
    """The Markdown files under `folder` in a fixed order, hidden folders left out.

    Raises:
        AskdocsError: the folder is missing, is a file, or has no Markdown file.
    """
    if not folder.is_dir():
        kind = "is a file" if folder.exists() else "does not exist"
        raise AskdocsError(f"{folder} {kind}: name the folder of your wiki, --docs DIR")
    empty = True
    # MkDocs leaves a README out where there is an index: both would have one address.
    fronts = {path.parent for path in folder.rglob("index.md")}
    for path in sorted(folder.rglob("*")):
        if path.name == "README.md" and path.parent in fronts:
            continue
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            continue
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        empty = False
        yield path
    if empty:
        raise AskdocsError(
            f"{folder} has no Markdown page ({', '.join('*' + s for s in SUFFIXES)}):"
            " name the folder that holds your wiki's pages, --docs DIR"
        )


def read(folder: Path, site_url: str) -> Reading:
    """Read every page; a file that cannot be read is a problem in the result, not a stop.

    Raises:
        AskdocsError: as `files`, or not one of the files could be read.
    """
    reading = Reading()
    for path in files(folder):
        try:
            if path.stat().st_size > LARGEST:
                raise ValueError(f"larger than {LARGEST // 2**20} MiB")
            text = path.read_text(encoding="utf-8-sig")  # as MkDocs reads it
            page = parse(path.relative_to(folder).as_posix(), text, site_url)
        except (OSError, ValueError) as error:
            reading.problems.append(f"{path}: not read: {error}")
            continue
        if page.sections:
            reading.pages.append(page)
    if not reading.pages:
        why = reading.problems[0] if reading.problems else "every page is empty"
        raise AskdocsError(f"{folder} has no page with text: {why}")
    return reading
