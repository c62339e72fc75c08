"""`askdocs keys` and `askdocs usage`: the real commands on real databases."""

import asyncio
import json
import os
import re
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from core import database
from gateway.access import keys
from gateway.access.keys import Keys
from gateway.telemetry.usage import Usage
from tests.askdocs.conftest import Done, RunHere
from tests.gateway.postgres import PASSWORD, Postgres

TEXT = re.compile(r"ask-[a-z0-9]{10}-[A-Za-z0-9_-]{43}")

# They fill databases, and some of them PostgreSQL.
pytestmark = pytest.mark.slow


def said(done: Done) -> Any:
    assert done.returncode == 0, done
    return json.loads(done.stdout)


def test_a_created_key_is_shown_once_with_a_command_that_uses_it(
    here: RunHere, tmp_path: Path
) -> None:
    done = here("keys", "create", "ci", "--models", "base,docs")
    assert done.returncode == 0, done
    text = done.stdout.splitlines()[0]
    assert TEXT.fullmatch(text)
    assert "not shown again" in done.stdout
    curl = shlex.split(done.stdout[done.stdout.index("curl ") :])
    assert curl[1] == "http://127.0.0.1:4000/v1/chat/completions"
    assert f"Authorization: Bearer {text}" in curl
    assert json.loads(curl[-1])["model"] == "base"
    file = tmp_path / ".askdocs" / "askdocs.db"
    assert file.stat().st_mode & 0o777 == 0o600
    part = keys.parse(text)
    assert part is not None
    for words in (("keys", "list"), ("keys", "list", "--json"), ("usage", "--json")):
        assert part.secret not in here(*words).stdout
    assert part.secret.encode() not in file.read_bytes()


def test_a_key_that_can_ask_nothing_is_made_with_a_warning(here: RunHere) -> None:
    done = here("keys", "create", "ci", "--models", "docs,nope", "--tpm", "100")
    assert done.returncode == 0, done
    unknown, little = done.stderr.splitlines()
    assert "warning: no alias or model is called 'nope'" in unknown
    assert "base, docs" in unknown
    assert "warning: --tpm 100 is too little for one question" in little
    assert here("keys", "create", "two", "--models", "docs,base,minilm").stderr == ""


def test_json_has_key_id_limits_and_the_rest(here: RunHere, tmp_path: Path) -> None:
    began = datetime.now(UTC)
    options = "--team red --models a,b --rpm 60 --tpm 1000 --max-parallel 4 --monthly-tokens 9000"
    made = said(
        here("keys", "create", "ci", *options.split(), "--expires", "90d", "--json", "--home=h")
    )
    expires = datetime.fromisoformat(made.pop("expires"))
    assert timedelta(days=89.9) < expires - began < timedelta(days=90.1)
    created = datetime.fromisoformat(made.pop("created"))
    assert abs(created - began) < timedelta(minutes=1)
    part = keys.parse(made.pop("key"))
    assert part is not None
    assert made == {
        "id": part.id,
        "name": "ci",
        "team": "red",
        "models": ["a", "b"],
        "groups": [],
        "for_people": False,
        "limits": {"rpm": 60, "tpm": 1000, "max_parallel": 4, "monthly_tokens": 9000},
        "revoked": None,
        "state": "active",
    }
    engine = database.open(f"sqlite:///{tmp_path}/h/askdocs.db")
    found = Keys(engine).find(part.id)
    engine.dispose()
    assert found is not None
    assert [secret.digest for secret in found.secrets] == [keys.digest(part.secret)]


def test_list_has_every_key_with_its_state_and_last_use(here: RunHere, tmp_path: Path) -> None:
    assert "keys create NAME" in here("keys", "list").stdout
    assert said(here("keys", "list", "--json")) == []
    for words in (("[bold]北京", "--rpm", "1000"), ("gone",)):
        assert here("keys", "create", *words).returncode == 0
    assert here("keys", "revoke", "gone", "--yes").returncode == 0
    engine = database.open(f"sqlite:///{tmp_path}/.askdocs/askdocs.db")
    used = Usage(engine)
    used.count(Keys(engine).get("[bold]北京"), "docs", "base", 1, 1)
    asyncio.run(used.flush())
    engine.dispose()
    listed = said(here("keys", "list", "--json"))
    assert [(key["name"], key["state"]) for key in listed] == [
        ("[bold]北京", "active"),
        ("gone", "revoked"),
    ]
    assert listed[0]["last_used"] == datetime.now(UTC).date().isoformat()
    assert listed[1]["last_used"] is None
    head, first, second = here("keys", "list").stdout.splitlines()
    assert head.split()[:2] == ["name", "id"]
    assert first.startswith(f"[bold]北京  {listed[0]['id']}")
    assert "rpm 1,000" in first
    assert "revoked" in second


def test_revoking_asks_first(tmp_path: Path, here: RunHere) -> None:
    made = said(here("keys", "create", "ci", "--json"))

    def revoke(answer: str, *words: str) -> Done:
        return here("keys", "revoke", *words, typed=answer)

    for answer in ("n\n", "\n", ""):
        done = revoke(answer, "ci")
        assert done.returncode == 1
        assert f"Revoke ci ({made['id']})?" in done.stderr
    dry = revoke("", "ci", "--dry-run")
    assert (dry.returncode, dry.stdout.startswith("would revoke ci")) == (0, True)
    assert said(here("keys", "list", "--json"))[0]["state"] == "active"
    assert revoke("y\n", made["id"]).returncode == 0
    assert said(here("keys", "list", "--json"))[0]["state"] == "revoked"
    again = revoke("", "ci")
    assert again.returncode == 2
    assert "is revoked" in again.stderr


def test_a_rotation_shows_a_new_text_and_says_how_long_the_old_one_works(here: RunHere) -> None:
    made = said(here("keys", "create", "ci", "--json"))
    turned = said(here("keys", "rotate", "ci", "--json"))
    assert turned["id"] == made["id"]
    assert TEXT.fullmatch(turned["key"])
    assert turned["key"] != made["key"]
    left = datetime.fromisoformat(turned["old_valid_until"]) - datetime.now(UTC)
    assert timedelta(hours=23.9) < left < timedelta(hours=24.1)
    text = here("keys", "rotate", made["id"], "--grace", "0m").stdout
    assert TEXT.match(text)
    assert "The old secret works no more." in text


def test_usage_is_shown_by_what_one_asks_for(here: RunHere, tmp_path: Path) -> None:
    assert here("usage").stdout.startswith("no usage since ")
    assert here("keys", "create", "ci", "--team", "red").returncode == 0
    engine = database.open(f"sqlite:///{tmp_path}/.askdocs/askdocs.db")
    used = Usage(engine)
    key = Keys(engine).get("ci")
    used.count(key, "docs", "docs@v7", 12_000, 345)
    used.count(key, "base", "base", 1, 1)
    asyncio.run(used.flush())
    engine.dispose()
    today = datetime.now(UTC).date()
    report = said(here("usage", "--json"))
    assert report == {
        "since": str(today - timedelta(days=30)),
        "by": ["key"],
        "rows": [
            {
                "key": "ci",
                "key_id": key.id,
                "requests": 2,
                "prompt_tokens": 12_001,
                "completion_tokens": 346,
                "total_tokens": 12_347,
            }
        ],
    }
    rows = said(here("usage", "--by", "team,model", "--since", "1d", "--json"))["rows"]
    assert [(row["team"], row["model"]) for row in rows] == [("red", "docs@v7"), ("red", "base")]
    assert said(here("usage", "--by", "day", "--json"))["rows"][0]["day"] == str(today)
    tomorrow = str(today + timedelta(days=1))
    assert said(here("usage", "--since", tomorrow, "--json"))["rows"] == []
    lines = here("usage", "--by", "model").stdout.splitlines()
    assert re.split(r"  +", lines[1]) == ["docs@v7", "1", "12,000", "345", "12,345"]


def test_postgresql_is_used_where_the_environment_names_it(
    here: RunHere, postgres: Postgres, tmp_path: Path
) -> None:
    url = postgres.database()
    made = said(here("keys", "create", "ci", "--json", ASKDOCS_DATABASE_URL=url))
    listed = said(here("keys", "list", "--json", ASKDOCS_DATABASE_URL=url))
    assert [key["id"] for key in listed] == [made["id"]]
    assert said(here("usage", "--json", ASKDOCS_DATABASE_URL=url))["rows"] == []
    assert not (tmp_path / ".askdocs").exists()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("keys create ci --rpm 0", "rpm is 0, and must be from 1"),
        ("keys create ci --tpm -5", "tpm is -5"),
        ("keys create ''", "name of the key is empty"),
        ("keys create 'a\nb'", "invisible"),
        ("keys create ci --models a,,b", "a model has no name"),
        ("keys create ci --models ''", "a model has no name"),
        ("keys create ci --expires 0d", "is in the past"),
        ("keys create ci --expires 90", "--expires 90: write days, hours or minutes"),
        ("keys create ci --expires -1d", "--expires -1d: write days"),
        ("keys create ci --expires 999999999d", "more than 36500 days"),
        ("keys rotate ci --grace soon", "--grace soon: write days"),
        ("keys rotate ci", "no key has the name or id 'ci'"),
        ("keys revoke ci --yes", "no key has the name or id 'ci'"),
        ("usage --by colour", "'colour' is unknown: use key, team, alias, model, day"),
        ("usage --since yesterday", "--since yesterday: write a date ("),
        ("usage --since 2026-02-30", "--since 2026-02-30: write a date ("),
    ],
)
def test_what_makes_no_sense_is_one_line_and_exit_code_2(
    here: RunHere, words: str, why: str
) -> None:
    done = here(*shlex.split(words))
    assert done.returncode == 2, done
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("askdocs: ")
    assert why in line


def test_a_database_that_is_away_is_one_line_without_its_password(here: RunHere) -> None:
    url = f"postgresql://ann:{PASSWORD}@127.0.0.1:9/askdocs"
    done = here("keys", "list", ASKDOCS_DATABASE_URL=url)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "postgresql://ann:***@127.0.0.1:9/askdocs" in line
    assert PASSWORD not in line


def test_a_command_in_the_process_of_the_tests_leaves_no_variables(here: RunHere) -> None:
    before = dict(os.environ)
    assert here("keys", "list", no_proxy="example.com").returncode == 0
    assert dict(os.environ) == before


@pytest.mark.parametrize("words", ["create", "list", "revoke", "rotate"])
def test_every_command_of_keys_explains_itself(here: RunHere, words: str) -> None:
    shown = here("keys", words, "--help")
    assert shown.returncode == 0
    assert "--home" in shown.stdout
