"""What `askdocs doctor` finds out about an installation that has an index."""

import json
from functools import partial
from pathlib import Path

import pytest

from askdocs.state.home import Home
from askdocs.supervision import status
from askdocs.supervision.doctor import examine
from askdocs.supervision.settings import UpSettings
from wiki.index.index import writing
from wiki.sources.spec import Spec
from wiki.sources.sync import sync

CLOSED = (
    "rights: pages without groups: {}; nobody may read them until a rule or pages_without_groups "
    "allows somebody"
)


@pytest.mark.parametrize(
    ("rules", "lines"),
    [
        ({}, []),
        ({"it": "ports.md"}, ["rights: each rule protects pages", CLOSED.format(1)]),
        ({"it": "ports.md", "all": ""}, ["rights: each rule protects pages"]),
        (
            {"it": "ports.md", "hr": "hr/"},
            [
                "rights: [gateway.rights.hr] protects no page: write wiki and path as in askdocs "
                "docs list",
                CLOSED.format(1),
            ],
        ),
        (
            {"hr": "hr/", "it": "it/"},
            [
                "rights: [gateway.rights.hr], [gateway.rights.it] protect no page: write wiki and "
                "path as in askdocs docs list",
                CLOSED.format(2),
            ],
        ),
    ],
    ids=[
        "no rules",
        "all protect",
        "everything protected",
        "one protects nothing",
        "two protect nothing",
    ],
)
def test_a_rule_that_protects_no_page_is_named(
    rules: dict[str, str],
    lines: list[str],
    wiki: Path,
    home: Home,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = Spec.named(str(wiki), site_url="https://wiki.example.com/")
    sync(spec.open(), partial(writing, home.index), spec=spec.stored)
    written = {name: {"path": path, "groups": ["people"]} for name, path in rules.items()}
    monkeypatch.setenv("ASKDOCS_GATEWAY_RIGHTS", json.dumps(written))
    checks = [check for check in examine(UpSettings(), home) if check.name == "rights"]
    assert [check.line() for check in checks] == lines
    assert all(check.ok for check in checks) == ("hr" not in rules)


def test_settings_that_are_wrong_are_no_fault_of_the_index(
    wiki: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = Spec.named(str(wiki), site_url="https://wiki.example.com/")
    sync(spec.open(), partial(writing, home.index), spec=spec.stored)
    monkeypatch.setenv("ASKDOCS_GATEWAY_PORT", "many")
    wrong = {check.name for check in examine(UpSettings(), home) if not check.ok}
    assert "settings" in wrong
    assert "index" not in wrong


def test_the_wiki_of_a_running_askdocs_is_checked(wiki: Path, home: Home) -> None:
    state = status.Running(
        *(1, "2026-01-01T00:00:00+00:00", "http://127.0.0.1:1/v1", "http://127.0.0.1:1"),
        *("http://127.0.0.1:1", "llama.cpp", "http://127.0.0.1:1/v1", "SmolLM2", str(wiki), 900),
        *({}, True, "gguf"),
    )
    with home.lock():
        state.save(home)
        (check,) = (check for check in examine(UpSettings(), home) if check.name == "wiki")
    assert check.line().endswith(f"in {wiki}")
