"""`askdocs models`: the command itself, on stores that hold versions."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from askdocs.cli import app
from askdocs.state.home import Home
from core import database
from core.errors import AskdocsError
from gateway.routing import aliases, deployments
from gateway.settings import Alias
from tests.training.versions import FACTS, everything, threshold, trained, verdict
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
    store.add_verdict("docs@v1", verdict("docs@v1", decision="stop"))
    store.add_verdict("docs@v1", verdict("docs@v1", hour=1))
    store.add_artefact("docs@v1", "gguf", trained(home.root / "gguf"), {})
    store.retire("docs@v2")
    target(home, "docs@v1")
    one, two = said(home, "list")
    assert (one["name"], one["aliases"], one["artefacts"]) == ("docs@v1", ["docs"], ["gguf"])
    assert one["verdict"]["decision"] == "promote"
    assert one["metrics"]["eval_loss"] == 1.25
    assert one["retired"] is None
    assert (two["name"], two["aliases"], two["verdict"]) == ("docs@v2", [], None)
    assert two["retired"]
    head, first, second = run(home, "list").stdout.splitlines()
    assert head.split()[:3] == ["name", "created", "base"]
    assert first.split()[4:] == ["900", "1.2500", "promote", "gguf", "docs"]
    assert second.startswith("docs@v2 (retired)")


def test_the_list_of_nothing_says_how_to_begin(home: Home) -> None:
    assert run(home, "list").stdout == "no versions: create one with `askdocs train`\n"
    assert said(home, "list") == []
    assert not home.database.exists()


def test_only_the_versions_of_an_alias_are_listed(home: Home, store: Store) -> None:
    store.add("hr", home.root / "one", FACTS)
    assert [row["name"] for row in said(home, "list", "--alias", "hr")] == ["hr@v1"]


def test_show_says_all_that_is_known(home: Home, store: Store) -> None:
    store.add_verdict("docs@v1", verdict("docs@v1"))
    store.add_artefact("docs@v1", "gguf", home.root / "one", {"type": "Q8_0"})
    text = run(home, "list", "docs@v1").stdout
    for line in (
        "recipe.lora.modules: q_proj, v_proj",
        "dataset.examples.train: 900",
        "checks.changes_logits.passed: True",
        "verdicts.1.decision: promote",
        "artefacts.gguf.facts.type: Q8_0",
    ):
        assert f"{line}\n" in text
    assert "adapter/adapter_config.json: 8 bytes, " in text
    facts = said(home, "list", "docs@v1")
    assert facts["artefacts"]["gguf"]["version"] == "docs@v1"
    assert facts["files"]["training.json"]["bytes"] == 12


def test_a_version_that_is_not_there_is_one_line(home: Home, store: Store) -> None:
    done = run(home, "list", "docs@v9")
    assert isinstance(done.exception, AskdocsError)
    assert str(done.exception) == (
        f"docs@v9: no such version in {home.root}/versions; it has: docs@v1, docs@v2"
    )


def test_the_settings_name_the_store(
    home: Home, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASKDOCS_TRAINING_STORE", str(tmp_path / "elsewhere"))
    assert said(home, "list") == []


def test_a_version_that_an_alias_uses_is_not_retired(home: Home, store: Store) -> None:
    target(home, "docs@v2")
    done = run(home, "retire", "docs@v2", "--yes")
    assert str(done.exception) == (
        "docs@v2: the alias docs points to it: promote another version first"
    )
    assert store.retired("docs@v2") is None
    assert [said(home, "retire", "docs@v1", "--yes")["changed"] for _ in range(2)] == [True, False]


def test_a_version_that_is_served_is_not_retired(home: Home, store: Store) -> None:
    target(home, "base")
    engine = database.open(f"sqlite:///{home.database}")
    deployments.want(engine, "docs@v1", str(store.place))
    engine.dispose()
    done = run(home, "retire", "docs@v1", "--yes")
    assert str(done.exception) == "docs@v1: is served: promote another version first"


def test_without_a_yes_nothing_is_retired(home: Home, store: Store) -> None:
    words = ["models", "retire", "docs@v1", "--home", str(home.root)]
    assert CliRunner().invoke(app, words, input="n\n").exit_code == 1
    assert run(home, "retire", "docs@v1", "--dry-run").exit_code == 0
    assert store.retired("docs@v1") is None


def test_a_version_goes_to_another_place_and_comes_back_as_it_was(
    home: Home, store: Store, tmp_path: Path
) -> None:
    store.add_verdict("docs@v2", verdict("docs@v2"))
    measured = threshold("docs@v2", store.manifest_bytes("docs@v2"))
    store.add_threshold("docs@v2", measured)
    store.add_artefact("docs@v2", "gguf", home.root / "one", {})
    there = tmp_path / "backup"
    for _ in range(2):
        said(home, "push", "docs@v2", str(there), "--artefact", "gguf")
    other = Home(tmp_path / "other")
    said(other, "pull", "docs@v2", str(there))
    arrived = Store(Folder(other.root / "versions"))
    assert arrived.names() == ["docs@v2"]
    assert everything(arrived.fetch("docs@v2")) == {
        path: content
        for path, content in everything(store.fetch("docs@v2")).items()
        if not path.startswith("artefacts/")
    }
    said(other, "pull", "docs@v2", str(there), "--artefact", "gguf")
    assert everything(arrived.fetch("docs@v2")) == everything(store.fetch("docs@v2"))
    assert arrived.verdicts("docs@v2") == [verdict("docs@v2")]
    assert arrived.thresholds("docs@v2") == [measured]


def test_another_version_of_the_same_name_is_not_overwritten(
    home: Home, store: Store, tmp_path: Path
) -> None:
    elsewhere = Store(Folder(tmp_path / "elsewhere"))
    elsewhere.add("docs", home.root / "two", FACTS)
    before = everything(tmp_path / "elsewhere")
    done = run(home, "push", "docs@v1", str(tmp_path / "elsewhere"))
    assert str(done.exception).startswith(f"{tmp_path}/elsewhere/docs@v1: differs (its")
    assert everything(tmp_path / "elsewhere") == before


def test_what_is_broken_is_not_copied(home: Home, store: Store, tmp_path: Path) -> None:
    (home.root / "versions/docs@v1/training.json").write_text('{"steps": 4}')
    done = run(home, "push", "docs@v1", str(tmp_path / "backup"))
    assert "training.json: has the SHA-256" in str(done.exception)
    assert not (tmp_path / "backup").exists()


def test_retiring_removes_the_files_and_what_a_kill_left(home: Home, store: Store) -> None:
    versions = home.root / "versions"
    left = versions / ".docs@v3.0123abcd.new"
    trained(left)
    fresh = versions / ".docs@v3.4567abcd.new"
    trained(fresh)
    for path in left.rglob("*"):
        os.utime(path, (0, 0))
    store.add_artefact("docs@v1", "gguf", home.root / "one", {})
    copy = trained(home.root / "cache" / "versions" / "docs@v1-0123456789abcdef")
    copied, before = everything(copy), everything(versions)
    found = said(home, "retire", "docs@v1", "--dry-run")
    copies = f"copies of docs@v1 in {copy.parent}"
    assert [one["what"] for one in found["removed"]] == [left.name, "docs@v1", copies]
    assert (everything(versions), everything(copy)) == (before, copied)
    done = said(home, "retire", "docs@v1", "--yes")
    after = everything(versions)
    removed = [before[path] for path in before.keys() - after.keys()] + list(copied.values())
    assert done["bytes"] == sum(map(len, removed))
    assert not left.exists()
    assert not copy.exists()
    assert fresh.exists()
    assert sorted(path for path in after if path.startswith("docs@v1/")) == [
        "docs@v1/manifest.json",
        "docs@v1/retired.json",
    ]
    assert store.names() == ["docs@v1", "docs@v2"]
    store.fetch("docs@v2")
    assert store.add("docs", home.root / "one", FACTS) == "docs@v3"


def test_options_that_do_not_fit_the_place_are_refused(
    home: Home, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run(home, "push", "docs@v1", str(tmp_path / "backup"), "--public")
    assert str(done.exception).endswith("--public and --license apply only to the hub: omit them")
    done = run(home, "push", "docs@v1", "hf://team/wiki", "--artefact", "gguf")
    assert str(done.exception).endswith("only the adapter is pushed to the hub: omit --artefact")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    done = run(home, "push", "docs@v1", "hf://team/wiki")
    assert str(done.exception) == "hf://team/wiki: set HF_TOKEN to a token that may write there"
    assert not (tmp_path / "backup").exists()
