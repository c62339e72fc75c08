"""Every command of askdocs: whether it writes a line into the audit log, and which."""

import json
from collections.abc import Iterator
from http.server import HTTPServer
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup
from typer.testing import CliRunner

from askdocs.cli import app
from askdocs.state.home import Home
from core import audit, database
from gateway.routing import aliases, promotions
from gateway.runtime.index_keeper import alone
from tests.askdocs import reviewed
from tests.askdocs.conftest import ROOT
from tests.parts import require
from tests.speaking import Handler, serving
from tests.training.versions import FACTS, trained
from training.versions.local import Folder
from training.versions.store import Store as Versions
from wiki.index import embed

# What is run, in this order, and the act that the log then has.
RUN = (
    ("keys create ci", "key.create"),
    ("keys groups ci --groups legal", "key.regroup"),
    ("keys rotate ci", "key.rotate"),
    ("keys revoke ci --yes", "key.revoke"),
    ("aliases set legal --target base", "alias.set"),
    ("aliases remove legal", "alias.remove"),
    ("docs sync nowhere", None),  # there is no such folder
    ("docs sync wiki --site-url https://wiki.example.com/ --dry-run", None),
    ("docs sync wiki --site-url https://wiki.example.com/", "docs.add"),
    ("docs sync wiki", None),  # is known
    ("docs remove install.md --yes", "docs.remove"),
    ("docs remove install.md --undo", "docs.restore"),
    ("models rollback --alias docs", "version.rollback"),
    ("models promote local --alias hr --weight 0", "version.canary"),
    ("models push docs@v1 https://ann:secret@nowhere/", None),  # is no place
    ("models push docs@v1 copies", "version.push"),
    ("models pull docs@v1 copies", "version.pull"),
    ("models retire docs@v1 --yes", "version.retire"),
    ("feedback export --out all.csv", "questions.export"),
    ("feedback gaps", None),
    ("feedback gaps --out gaps.csv", "gaps.export"),
    ("feedback gaps --send --dry-run", None),
    ("feedback gaps --send", "gaps.send"),
    ("feedback gaps --send", None),  # was sent
    ("dataset pull --dry-run", None),
    ("dataset pull --out rows.jsonl", "answers.export"),
    ("dataset prefer --dry-run", None),
    ("dataset prefer --out preferences", "answers.export"),
    ("feedback forget --before 0 --yes", "questions.forget"),
    ("backup --out b.tar.gz", "backup.make"),
    ("restore b.tar.gz --only index --yes", "backup.restore"),
)
# Makes a key, as `keys create` does, and asks a running gateway with it.
NOT_RUN = {"connect"}
# They change nothing that answers stand on, and give nothing away.
WITHOUT = {
    "what they tell is only shown": """
        ask, status, doctor, usage, audit, mcp, plan, keys list, aliases list, docs list, docs show,
        docs search, docs stats, models list,
        models compare, gpu check, slack manifest""",
    "they start or measure what the settings say": """
        up""",
    "they write files, of what was in files": """
        dataset check, dataset ground, dataset build, dataset draft,
        eval run, eval check, eval label,
        eval report, eval compare, eval gate, eval sweep""",
    "what they make answers nobody before `models promote`": """
        train, models export""",
}


def commands(command: Any, *words: str) -> Iterator[str]:
    if isinstance(command, TyperGroup):
        for name, one in command.commands.items():
            yield from commands(one, *words, name)
    else:
        yield " ".join(words)


def test_each_command_is_known_to_have_its_line_in_the_log_or_to_need_none() -> None:
    every = set(commands(typer.main.get_command(app)))
    without = {name.strip() for names in WITHOUT.values() for name in names.split(",")}
    run = {name for name in every for words, act in RUN if act and words.startswith(f"{name} ")}
    assert run | NOT_RUN | without == every
    assert not (run | NOT_RUN) & without
    told = (ROOT / "docs" / "how-to/monitoring.md").read_text(encoding="utf-8")
    assert [act for _, act in RUN if act and f"`{act}`" not in told] == []


class Hook(Handler):
    """A webhook."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.json(200, {})


@pytest.fixture
def _team(home: Home, wiki: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A wiki, a version, two aliases that were promoted, an approved answer, and a webhook."""
    monkeypatch.setenv("ASKDOCS_HOME", str(home.root))
    row = {"question": "What do I need?", "context_doc": "install.md"}
    wiki.with_name("answers.jsonl").write_text(json.dumps(row))
    Versions(Folder(home.root / "versions")).add("docs", trained(home.root / "run"), FACTS)
    engine = database.open(f"sqlite:///{home.database}")
    database.migrate(engine)
    docs = aliases.DEFAULT["docs"]
    for name, targets in (("docs", {"local": 1.0}), ("hr", {"base": 90.0, "local": 10.0})):
        promotions.write(engine, "promote", name, None, docs, targets, "ann")
    reviewed.approve(engine, "install.md")
    engine.dispose()
    # Vectors take longer than all the rest: as if a gateway worked them out.
    with serving(HTTPServer(("127.0.0.1", 0), Hook)) as hook, alone(home.index):
        address = f"http://127.0.0.1:{hook.server_port}/hook"
        monkeypatch.setenv("ASKDOCS_WIDGET_DIGEST_WEBHOOK", address)
        yield


def lines(home: Home) -> list[audit.AuditRecord]:
    engine = database.open(f"sqlite:///{home.database}")
    try:
        return audit.lines(engine)
    finally:
        engine.dispose()


@pytest.mark.slow
@pytest.mark.usefixtures("_team")
def test_each_act_has_its_line(home: Home) -> None:
    require(embed.load() is not None, "the embedding model is not installed: run make setup")
    had = len(lines(home))
    found: list[tuple[str, Any]] = []
    details: dict[str, Any] = {}
    for words, _ in RUN:
        done = CliRunner().invoke(app, words.split())
        assert (done.exit_code != 0) is ("nowhere" in words), (words, done.output)
        new = lines(home)[had:]
        had += len(new)
        found.append((words, "+".join(line.action for line in new) or None))
        for line in new:
            details.setdefault(line.action, line.details)
    assert found == list(RUN)
    assert details["docs.add"] == {"pages": 2}
    assert details["version.push"] == {"place": "copies", "public": False}
    assert details["gaps.send"] == {"to": "127.0.0.1"}
    assert details["answers.export"] == {"rows": 1}
    assert details["backup.restore"]["parts"] == ["index"]
