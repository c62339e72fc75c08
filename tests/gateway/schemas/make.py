"""Fills a database as the askdocs on PYTHONPATH does, so that its dump can be kept here.

    git archive COMMIT gateway widget | tar x -C /tmp/old
    PYTHONPATH=/tmp/old python tests/gateway/schemas/make.py sqlite:////tmp/old.db

COMMIT is the last one before a migration. What the commit does not know yet is left out. The dumps:

    python -c "import sqlite3; [print(x) for x in sqlite3.connect('/tmp/old.db').iterdump()]"
    pg_dump --inserts --no-owner --no-privileges URL | grep -v '^--\\|^\\\\\\|^$'
"""

import asyncio
import secrets
import sys
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

SECRET = "S" * 43
"""Of every key in the dumps; they open nothing."""
PAGE = "https://wiki.example.com/vpn/"
ASKED = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)


def known(module: str) -> Any:
    """The module, or None where that commit has not got it."""
    try:
        return import_module(module)
    except ModuleNotFoundError:
        return None


def main(url: str) -> None:
    """Fill the database."""
    from gateway.access.keys import Keys, Limits
    from gateway.core.gateway_settings import Alias
    from gateway.routing import aliases
    from gateway.storage import database
    from gateway.telemetry.usage import Usage

    secrets.token_urlsafe = lambda nbytes=None: SECRET
    if log := known("gateway.telemetry.audit"):
        log.actor = lambda: "ann@web1"
    engine = database.open(url)
    database.migrate(engine)
    keys = Keys(engine)
    key, _ = keys.create("ci", "red", ["docs"], Limits(60, None, 4, 9000), None)
    keys.revoke(_other(keys))
    usage = Usage(engine)
    usage.add(key, "docs", "base", 1200, 80)
    asyncio.run(usage.flush())
    aliases.save(engine, "hr", Alias(targets={"base": 90, "spare": 10}, grounding=True), "ann")
    if popularity := known("gateway.upstream.prefill.popularity"):
        popularity.PagePopularity(engine)._write({(PAGE,): 2.5})
    if engine.dialect.name == "postgresql" and known("gateway.knowledge.search.replica"):
        _sync(url)
    if promotions := known("gateway.routing.promotions"):
        _promote(engine, promotions)
    if store := known("widget.service.store"):
        _ask(engine, store)
    if known("widget.review.reviews"):
        _review(engine)
    engine.dispose()


def _other(keys: Any) -> str:
    """A second key, whose digest must be another one."""
    secrets.token_urlsafe = lambda nbytes=None: "T" * 43
    key, _ = keys.create("old")
    secrets.token_urlsafe = lambda nbytes=None: SECRET
    return str(key.id)


def _sync(url: str) -> None:
    import tempfile
    from pathlib import Path

    from gateway.knowledge.search.replica import open_writing
    from gateway.knowledge.sources.markdown import parse

    page = parse("vpn.md", "# VPN\n\nThe VPN needs a token.", "https://wiki.example.com/")
    with tempfile.TemporaryDirectory() as folder, open_writing(Path(folder, "i.db"), url) as writer:
        writer.put("wiki", page, "1")


def _promote(engine: Any, promotions: Any) -> None:
    from gateway.routing import deployments
    from gateway.routing.aliases import DEFAULT
    from gateway.telemetry import answer_statistics

    deployments.want(engine, "docs@v1", "/srv/versions")
    deployments.ready(engine, "docs@v1", "gguf", "http://127.0.0.1:9001/v1", "docs@v1")
    before = DEFAULT["docs"]
    promotions.write(engine, "promote", "docs", None, before, {"docs@v1": 1.0}, "ann")
    counted = answer_statistics.AnswerStatistics(engine)
    counted.count("docs", "docs@v1", "answered")
    asyncio.run(counted.flush())


def _ask(engine: Any, store: Any) -> None:
    kept = store.Store(engine)
    for number in range(2):
        id = f"q{number}"
        asked = store.NewQuestion(
            id, "How do I get a token?", "c1", page=PAGE, visitor="v1", team="red"
        )
        kept.asked(asked, ASKED + timedelta(minutes=number))
        kept.answered(id, store.Answered("answered", "Ask the desk.", "docs@v1", {"sources": []}))
    kept.vote("q1", store.Vote("down", ("wrong",), "No desk here."), "v1")
    kept.share("q0")


def _review(engine: Any) -> None:
    from widget.review.clusters import Sorter
    from widget.review.reviews import Draft, Reviews

    Sorter(engine, load=lambda: None).sort()
    draft = Draft("How do I get a token?", "From the second floor.", "vpn.md")
    Reviews(engine).change(1, 0, "wendy", "approve", draft)


if __name__ == "__main__":
    main(sys.argv[1])
