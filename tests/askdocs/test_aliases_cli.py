"""`askdocs aliases set`: the instructions and the wikis of an alias."""

import json
import os
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from askdocs import cli
from askdocs.commands import aliases as commands
from askdocs.state.home import Home
from gateway.settings import LONGEST
from wiki.index.index import writing
from wiki.index.rows import StoredSource

ROOT = Path(__file__).parents[2]
Aliases = Callable[..., tuple[int, str, str]]


@pytest.fixture
def aliases(
    home: Home, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Aliases:
    """The command, in this process: its code, output and errors."""
    monkeypatch.setenv("ASKDOCS_HOME", str(home.root))

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["askdocs", "aliases", *words])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        said = capfd.readouterr()
        return code, said.out, said.err

    return run


def test_the_alias_of_the_readme_can_be_set(aliases: Aliases) -> None:
    (line,) = re.findall(r"askdocs aliases (set .*)", (ROOT / "README.md").read_text())
    code, _, errors = aliases(*line.split())
    assert (code, errors) == (0, "")


@pytest.fixture(autouse=True)
def wikis(home: Home, tmp_path: Path) -> None:
    """Two in the index."""
    with writing(home.index) as writer:
        for name in (str(tmp_path / "hr"), "https://it.example.com/"):
            writer.put_source(StoredSource(name, {}, datetime.now(UTC), ()))


def one(aliases: Aliases, name: str) -> dict[str, Any]:
    rows: list[dict[str, Any]] = json.loads(aliases("list", "--json")[1])
    return next(row for row in rows if row["name"] == name)


def test_what_a_file_says_and_which_wikis_stay_until_they_are_taken_away(
    aliases: Aliases, tmp_path: Path
) -> None:
    Path("hr.txt").write_text("\nYou answer for the people team.\nBe kind.\n")
    made = ("set", "hr", "--target", "base", "--instructions", "hr.txt", "--source", "hr")
    assert aliases(*made)[0] == 0
    assert aliases("set", "hr", "--grounding")[0] == 0
    row = one(aliases, "hr")
    assert row["instructions"] == "You answer for the people team.\nBe kind."
    assert (row["sources"], row["grounding"]) == ([str(tmp_path / "hr")], True)
    shown = aliases("list")[1]
    assert "instructions  You answer for the people team. Be kind.\n" in shown
    assert aliases("set", "hr", "--no-instructions", "--all-sources")[0] == 0
    row = one(aliases, "hr")
    assert (row["instructions"], row["sources"]) == (None, [])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "hr.txt: No such file"),
        (b" \n", "hr.txt: is empty"),
        (b"ab\xff", "hr.txt: byte 2 is not UTF-8"),
        (b"a" * (LONGEST + 1), f"hr.txt: has {LONGEST + 1:,} characters"),
    ],
)
def test_a_file_that_is_no_instructions_is_one_line_and_changes_nothing(
    aliases: Aliases, content: bytes | None, words: str
) -> None:
    if content is not None:
        Path("hr.txt").write_bytes(content)
    code, _, said = aliases("set", "docs", "--instructions", "hr.txt")
    assert code == 2
    assert words in said
    assert len(said.strip().splitlines()) == 1
    assert one(aliases, "docs")["instructions"] is None


def test_a_wiki_that_is_not_in_the_index_is_named_with_those_that_are(aliases: Aliases) -> None:
    code, _, said = aliases("set", "docs", "--source", "nowhere")
    assert code == 2
    assert "--source nowhere: not a wiki of the index; it has" in said
    assert "https://it.example.com/" in said


def test_a_user_without_a_name_as_in_a_container_can_change_an_alias(
    aliases: Aliases, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 987_654_321)  # of nobody here
    assert aliases("set", "hr", "--target", "base")[0] == 0


@pytest.mark.parametrize("words", [("set", "hr", "--first-byte", "9"), ("remove", "hr")])
def test_what_somebody_else_changes_meanwhile_is_not_undone(
    aliases: Aliases, home: Home, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """A promotion, for example, while `aliases set` asks the engine for its models."""
    assert aliases("set", "hr", "--target", "base")[0] == 0
    asks = commands.problems_of

    async def promoting(*given: Any) -> Any:
        with closing(sqlite3.connect(home.database, isolation_level=None)) as db:
            db.execute(
                "UPDATE aliases SET definition = json_set(definition, '$.targets', json(?))",
                ('{"base": 1, "local": 9}',),
            )
        return await asks(*given)

    monkeypatch.setattr(commands, "problems_of", promoting)
    code, _, error = aliases(*words)
    assert code == 2
    assert "somebody else has changed the alias 'hr' in the meantime" in error.replace("\n", " ")
    assert one(aliases, "hr")["targets"] == {"base": 1.0, "local": 9.0}


def test_thresholds_are_listed_and_stay_when_an_alias_is_changed(
    aliases: Aliases, monkeypatch: pytest.MonkeyPatch
) -> None:
    thresholds = {"docs@v7": {"rules": 0.6, "judge": 0.35}}
    hr = {"targets": "base", "grounding": True, "thresholds": thresholds}
    monkeypatch.setenv("ASKDOCS_GATEWAY_ALIASES", json.dumps({"hr": hr}))
    assert aliases("set", "hr", "--check", "hold")[0] == 0
    monkeypatch.delenv("ASKDOCS_GATEWAY_ALIASES")
    assert one(aliases, "hr")["thresholds"] == thresholds
    assert "  threshold  docs@v7: rules 0.6, judge 0.35\n" in aliases("list")[1]
