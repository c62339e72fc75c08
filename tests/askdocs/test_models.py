"""`askdocs models`: the command itself, on stores that hold versions."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from askdocs.cli import app
from askdocs.home import Home
from gateway import aliases, database
from gateway.config import Alias
from gateway.errors import AskdocsError
from tests.training.versions import FACTS, trained, verdict
from training.versions.local import Folder
from training.versions.store import Store


@pytest.fixture
def store(home: Home) -> Store:
    """The home's store, with two versions."""
    store = Store(Folder(home.root / "versions"))
    for content in ("one", "two"):
        store.add("docs", trained(home.root / content, content), FACTS)
    return store


def run(home: Home, *words: str) -> Result:
    return CliRunner().invoke(app, ["models", *words, "--home", str(home.root)])


def said(home: Home, *words: str) -> Any:
    done = run(home, *words, "--json")
    assert done.exit_code == 0, done
    return json.loads(done.stdout)


def target(home: Home, name: str) -> None:
    """Let the alias docs stand for a version."""
    engine = database.open(f"sqlite:///{home.database}")
    database.migrate(engine)
    aliases.save(engine, "docs", Alias(targets={name: 1}, grounding=True), "test")
    engine.dispose()


def test_the_list_says_what_each_version_is_and_who_uses_it(home: Home, store: Store) -> None:
    store.add_verdict("docs@v1", verdict("docs@v1", passed=False))
    store.add_verdict("docs@v1", verdict("docs@v1", hour=1))
    store.add_artefact("docs@v1", "gguf", trained(home.root / "gguf"), {})
    store.retire("docs@v2")
    target(home, "docs@v1")
    one, two = said(home, "list")
    assert (one["name"], one["aliases"], one["artefacts"]) == ("docs@v1", ["docs"], ["gguf"])
    assert one["verdict"]["passed"]
    assert one["metrics"]["eval_loss"] == 1.25
    assert one["retired"] is None
    assert (two["name"], two["aliases"], two["verdict"]) == ("docs@v2", [], None)
    assert two["retired"]
    head, first, second = run(home, "list").stdout.splitlines()
    assert head.split()[:3] == ["name", "created", "base"]
    assert first.split()[4:] == ["900", "1.2500", "passed", "gguf", "docs"]
    assert second.startswith("docs@v2 (retired)")


def test_the_list_of_nothing_says_how_to_begin(home: Home) -> None:
    assert run(home, "list").stdout == "no versions: `askdocs train` makes one\n"
    assert said(home, "list") == []
    assert not home.database.exists()


def test_only_the_versions_of_an_alias_are_listed(home: Home, store: Store) -> None:
    store.add("hr", home.root / "one", FACTS)
    assert [row["name"] for row in said(home, "list", "--alias", "hr")] == ["hr@v1"]


def test_show_says_all_that_is_known(home: Home, store: Store) -> None:
    store.add_verdict("docs@v1", verdict("docs@v1"))
    store.add_artefact("docs@v1", "gguf", home.root / "one", {"type": "Q8_0"})
    text = run(home, "show", "docs@v1").stdout
    for line in (
        "recipe.lora.modules: q_proj, v_proj",
        "dataset.examples.train: 900",
        "checks.changes_logits.passed: True",
        "verdicts.1.passed: True",
        "artefacts.gguf.facts.type: Q8_0",
    ):
        assert f"{line}\n" in text
    assert "adapter/adapter_config.json: 8 bytes, " in text
    facts = said(home, "show", "docs@v1")
    assert facts["artefacts"]["gguf"]["version"] == "docs@v1"
    assert facts["files"]["training.json"]["bytes"] == 12


def test_a_version_that_is_not_there_is_one_line(home: Home, store: Store) -> None:
    done = run(home, "show", "docs@v9")
    assert isinstance(done.exception, AskdocsError)
    assert str(done.exception) == (
        f"docs@v9: no such version in {home.root}/versions; there are: docs@v1, docs@v2"
    )


def test_the_settings_name_the_store(
    home: Home, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASKDOCS_TRAINING_STORE", str(tmp_path / "elsewhere"))
    assert said(home, "list") == []
