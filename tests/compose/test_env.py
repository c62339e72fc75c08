"""The .env of compose.yaml: nothing secret in the repository, and a script that makes one."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from dotenv import dotenv_values

from gateway.telemetry import tracing
from tests.containers import compose, read
from tests.runbook import commands

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / ".env.example"
OPERATIONS = ROOT / "docs" / "how-to/production.md"
SECRETS = {"ASKDOCS_KEY", "POSTGRES_PASSWORD", "REDIS_PASSWORD", "GRAFANA_PASSWORD"}
# Named in the file, and made by whoever builds: docs/tutorials/compose.md.
BUILT = {"SOURCE_DATE_EPOCH"}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with the example and the script."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(EXAMPLE, tmp_path)
    shutil.copy(ROOT / "scripts" / "compose_env.sh", tmp_path / "scripts")
    return tmp_path


def make(folder: Path, *secret: str) -> subprocess.CompletedProcess[str]:
    command = ["sh", str(folder / "scripts" / "compose_env.sh"), *secret]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_script_makes_new_secrets_that_only_the_owner_reads(copy: Path) -> None:
    before = os.umask(0)
    try:
        assert make(copy).returncode == 0
    finally:
        os.umask(before)
    file = copy / ".env"
    assert file.stat().st_mode & 0o777 == 0o600
    made, example = dotenv_values(file), dotenv_values(EXAMPLE)
    assert {name for name in made if made[name] != example[name]} == SECRETS
    for name in SECRETS:
        assert re.fullmatch("(ask-)?[0-9a-f]{64}", made[name] or "")
    assert len({made[name] for name in SECRETS}) == len(SECRETS)
    assert sorted(path.name for path in copy.iterdir()) == [".env", ".env.example", "scripts"]


def test_the_script_leaves_another_env_alone(copy: Path) -> None:
    (copy / ".env").write_text("mine")
    done = make(copy)
    assert done.returncode == 1
    assert ".env exists: delete it first" in done.stderr
    assert (copy / ".env").read_text() == "mine"


def test_the_script_replaces_one_secret_and_keeps_the_key_before(copy: Path) -> None:
    make(copy)
    file = copy / ".env"
    # As an older askdocs has made it, and somebody has gone on.
    text = file.read_text().replace("PREVIOUS_KEY=\n", "") + "ORIGINS=http://a/,http://b/?c&d\n"
    file.write_text(text)
    before = dotenv_values(file)
    for name in (*sorted(SECRETS), "PREVIOUS_KEY"):
        done = make(copy, name)
        assert done.returncode == 0, done.stderr
        after = dotenv_values(file)
        changed = {other for other in after if after[other] != before.get(other)}
        if name == "ASKDOCS_KEY":
            assert changed == {name, "PREVIOUS_KEY"}
            assert after["PREVIOUS_KEY"] == before["ASKDOCS_KEY"]
            again = make(copy, name)
            assert again.returncode == 1
            assert "revoke it first" in again.stderr
            assert dotenv_values(file) == after
        else:
            assert changed == {name}
        wanted = "" if name == "PREVIOUS_KEY" else "(ask-)?[0-9a-f]{64}"
        assert re.fullmatch(wanted, after[name] or "")
        assert done.stdout.startswith(f"changed {name} in .env")
        assert not [value for value in after.values() if value and value in done.stdout]
        before = after
    assert file.stat().st_mode & 0o777 == 0o600
    for name in ("HF_TOKEN", "OTHER_PASSWORD"):
        assert make(copy, name).returncode == 1
    assert dotenv_values(file) == before
    assert sorted(path.name for path in copy.iterdir()) == [".env", ".env.example", "scripts"]


def test_the_docs_say_how_each_secret_is_replaced() -> None:
    told = [command.words for command in commands(OPERATIONS, "rotate-compose")]
    script = ["sh", "scripts/compose_env.sh"]
    named = [words[2] for words in told if words[:2] == script]
    assert sorted(named) == sorted({*SECRETS, "PREVIOUS_KEY"})


def test_the_example_has_no_secret_and_the_repository_takes_no_env() -> None:
    example = dotenv_values(EXAMPLE)
    empty = {name for name, value in example.items() if not value}
    unset = {"PREVIOUS_KEY", "HF_TOKEN", "CONFIG", "ALERTS_URL", "RUNBOOK_URL"}
    unset |= {"OTEL_ENDPOINT", "HOSTS"}
    assert empty == {*SECRETS, *unset}
    ignored = subprocess.run(["git", "check-ignore", "-q", ".env"], cwd=ROOT, check=False)
    assert ignored.returncode == 0


def test_compose_uses_what_the_example_has_with_the_same_defaults() -> None:
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    text = re.sub(
        r"\$\{OTEL_ENDPOINT:\+--otlp-traces-endpoint \$\{OTEL_ENDPOINT\}/v1/traces\}", "", text
    )
    used = re.findall(r"(?<!\$)\$\{(\w+)(?::([-?])([^}]*))?\}", text)
    example = dotenv_values(EXAMPLE)
    assert {name for name, _, _ in used} - BUILT == example.keys() - {"COMPOSE_PROFILES"}
    for name, how, default in used:
        if name in SECRETS:
            assert (how, default) == ("?", "run sh scripts/compose_env.sh")
        elif name == "CONFIG":  # compose.router.yaml has another
            assert (how, default) == ("-", "./deploy/askdocs.toml")
        elif name not in BUILT:
            assert (how, default) == ("-", example[name])


@pytest.mark.slow
def test_compose_reads_it_with_every_engine(copy: Path) -> None:
    """Compose's own parser: it knows what no schema says."""
    make(copy)
    file = copy / ".env"
    always = {"gateway", "widget", "site", "postgres", "redis"}
    always |= {"prometheus", "alertmanager", "grafana"}
    assert read(file)["services"].keys() == {*always, "engine"}
    for profile in ("vllm", "vllm-cpu"):
        text = re.sub(
            "^COMPOSE_PROFILES=.*$", f"COMPOSE_PROFILES={profile}", file.read_text(), flags=re.M
        )
        file.write_text(text)
        assert read(file)["services"].keys() == {*always, profile, "model"}
    assert "backup" in read(file, "backup")["services"]
    routed = read(file, "router", over=(ROOT / "deploy" / "compose.router.yaml",))["services"]
    assert routed.keys() == {*always, "vllm-a", "vllm-b", "router", "model"}
    for name in ("gateway", "widget"):
        mounts = [(one["target"], one["source"]) for one in routed[name]["volumes"]]
        places = [source for target, source in mounts if target == "/app/askdocs.toml"]
        assert places == [str(ROOT / "deploy" / "askdocs.router.toml")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("profile", "engines"),
    [("vllm", ["vllm"]), ("vllm-cpu", ["vllm-cpu"]), ("router", ["vllm-a", "vllm-b"])],
)
def test_all_parts_send_traces_where_the_env_says(
    copy: Path, profile: str, engines: list[str]
) -> None:
    make(copy)
    file = copy / ".env"
    over = (ROOT / "deploy" / "compose.router.yaml",) if profile == "router" else ()
    for collector in ("", "http://collector:4318"):
        wanted = collector and f"{collector}/v1/traces"
        text = re.sub(
            "^OTEL_ENDPOINT=.*", f"OTEL_ENDPOINT={collector}", file.read_text(), flags=re.M
        )
        file.write_text(text)
        services = read(file, profile, over=over)["services"]
        for name in ("gateway", "widget"):
            assert tracing.endpoint(services[name]["environment"]) == wanted
        for name in engines:
            words = services[name]["command"]
            option = words.index("--otlp-traces-endpoint") if wanted else len(words)
            assert words[option + 1 :] == ([wanted] if wanted else [])
            protocol = services[name]["environment"]["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"]
            assert protocol == tracing.PROTOCOL


@pytest.mark.slow
def test_compose_says_what_to_run_where_there_is_no_env(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    done = subprocess.run(
        [*compose(), "--file", ROOT / "compose.yaml", "--env-file", empty, "config", "--quiet"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "run sh scripts/compose_env.sh" in done.stderr


def test_no_secret_has_a_default_anywhere() -> None:
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    assert not re.findall(r"(?:PASSWORD|KEY|TOKEN|SECRET)\w*:-[^}]", text)
