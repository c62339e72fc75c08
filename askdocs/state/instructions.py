"""The instructions file of an alias, sent to its models before every question."""

from pathlib import Path

from core.errors import AskdocsError
from gateway.settings import LONGEST


def read(file: Path) -> str:
    """The text of the file, stripped.

    Raises:
        AskdocsError: it cannot be read as UTF-8, is empty or too long.
    """
    try:
        text = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise AskdocsError(f"{file}: {error.strerror}: name a file of instructions") from None
    except UnicodeDecodeError as error:
        raise AskdocsError(f"{file}: byte {error.start} is not UTF-8: save it as UTF-8") from None
    if not text:
        raise AskdocsError(f"{file}: is empty: write the instructions for the model into it")
    if len(text) > LONGEST:
        raise AskdocsError(
            f"{file}: has {len(text):,} characters; instructions may have {LONGEST:,}, because "
            "they precede every question: put knowledge into pages"
        )
    return text
