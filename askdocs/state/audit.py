"""Writes audit log entries for commands that act outside the database."""

from pathlib import Path
from typing import Any

from askdocs.state.database import opened
from core import audit as log
from core.database import writing


def note(home_dir: Path | None, action: str, target: str, **details: Any) -> None:
    """Log an action outside the database, before it is done.

    Raises AskdocsError: the database is unavailable: do not act.
    """
    with opened(home_dir) as engine, writing(engine) as connection:
        log.record(connection, action, target, **details)
