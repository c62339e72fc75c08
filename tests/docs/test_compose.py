"""compose.yaml, which no machine without Docker can run: its schema, settings and commands."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.config import GatewaySettings
from gateway.engines import vllm
from gateway.settings import Section, load, variable
from widget.settings import WidgetSettings

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "compose.yaml"
SECTIONS: dict[str, type[Section]] = {"gateway": GatewaySettings, "widget": WidgetSettings}
OURS = ("engine", "gateway", "widget", "site")


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))["services"]
    return found


def filled_in(text: str) -> str:
    """What compose makes of ${NAME:-default} and ${NAME:?message} where NAME is not set."""
    return re.sub(r"\$\{\w+:([-?])([^}]*)\}", lambda m: m[2] if m[1] == "-" else "ask-test", text)


def environment(service: dict[str, Any]) -> dict[str, str]:
    return {name: filled_in(str(value)) for name, value in service.get("environment", {}).items()}


def test_file_fits_the_compose_specification() -> None:
    checker = Path(sys.executable).with_name("check-jsonschema")
    done = subprocess.run(
        [checker, "--builtin-schema", "vendor.compose-spec", FILE], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", SECTIONS)
def test_variables_are_settings_with_valid_values(
    services: dict[str, dict[str, Any]], name: str, tmp_path: Path
) -> None:
    empty = tmp_path / "askdocs.toml"
    empty.touch()
    given = {k: v for k, v in environment(services[name]).items() if k.startswith("ASKDOCS_")}
    model = SECTIONS[name]
    assert given.keys() <= {variable(model, key) for key in model.model_fields}
    load(model, env=given, file=empty)


def test_other_services_have_no_settings(services: dict[str, dict[str, Any]]) -> None:
    for name in services.keys() - SECTIONS.keys():
        assert not [key for key in environment(services[name]) if key.startswith("ASKDOCS_")]


@pytest.mark.parametrize("name", OURS)
def test_commands_are_modules_that_take_their_options(
    services: dict[str, dict[str, Any]], name: str
) -> None:
    python, dash_m, module, *options = shlex.split(filled_in(services[name]["command"]))
    assert (python, dash_m) == ("python", "-m")
    parts = module.split(".")
    file = ROOT.joinpath(*parts).with_suffix(".py")
    assert file.is_file() or ROOT.joinpath(*parts, "__main__.py").is_file()
    wanted = {option for option in options if option.startswith("--")}
    if not wanted:
        return
    shown = subprocess.run(
        [sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert shown.returncode == 0, shown.stderr
    assert wanted <= set(re.findall(r"--[a-z][a-z-]*", shown.stdout))


def test_vllm_is_started_as_on_one_machine(services: dict[str, dict[str, Any]]) -> None:
    words = shlex.split(filled_in(services["vllm"]["command"]))
    model = words[words.index("--model") + 1]
    ours = vllm.launch(
        Path("/x/bin/python"),
        model,
        port=8001,
        served_name="base",
        context=8192,
        gpu=True,
        threads=2,
    ).argv
    assert {w for w in words if w.startswith("--")} == {w for w in ours if w.startswith("--")}


def test_vllm_image_is_the_release_that_is_locked(services: dict[str, dict[str, Any]]) -> None:
    lock = (ROOT / "requirements" / "vllm-gpu.lock").read_text(encoding="utf-8")
    locked = re.search(r"^vllm==([\w.]+)", lock, re.M)
    assert locked
    assert services["vllm"]["image"] == f"vllm/vllm-openai:v{locked[1]}"


@pytest.mark.parametrize("name", OURS)
def test_our_containers_are_closed(services: dict[str, dict[str, Any]], name: str) -> None:
    service = services[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert not service["user"].startswith("0")
    assert service["healthcheck"]["test"][0] == "CMD"


def test_ports_are_published_on_loopback_and_engines_not_at_all(
    services: dict[str, dict[str, Any]],
) -> None:
    for name, service in services.items():
        published = service.get("ports", [])
        assert all(port.startswith("127.0.0.1:") for port in published)
        assert bool(published) == (name in ("gateway", "widget", "site"))


def test_image_copies_what_the_build_context_lets_through() -> None:
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line[1:].rstrip("/") for line in ignore if line.startswith("!")}
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    copied = [words.split()[:-1] for words in re.findall(r"^COPY (.*)$", dockerfile, re.M)]
    sources = {source.rstrip("/") for group in copied for source in group}
    assert all((ROOT / source).exists() for source in sources)
    assert {source.split("/")[0] for source in sources} == allowed
