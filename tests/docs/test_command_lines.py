"""Every command line, option and API path that a page shows is one that there is."""

import re
import shlex
import textwrap
import tomllib
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from askdocs.cli import app
from core.settings import load
from gateway.api import openapi as gateway_api
from tests.docs.test_pages import ROOT, SETTINGS, TEXTS, fences
from tests.docs.tutorial import commands
from tests.security import widget_description

# One page tells of options that are gone; the pages of commands are made from the commands.
WRITTEN = [path for path in TEXTS if path.name not in ("CHANGELOG.md", "removed.md", "commands.md")]
every_page = pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
OURS = ("askdocs.", "eval.", "gateway", "training.", "widget", "tests.")
SERVICES = set(yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"])
ENDS = {"|", "&&", ";", "&", ">", ">>", "2>&1", "||"}
PROGRAM = {"askdocs", ".venv/bin/askdocs"}
# After other words, `askdocs` is the name of a folder, of an image, of a namespace.
BEFORE = {*ENDS, "--", "exec", "gateway", "sudo"}
# `/v1/score` is vLLM's.
PATHS = {
    *gateway_api.description()["paths"],
    *(path for _, path in widget_description.ROUTES),
    "/mcp",
    "/v1/score",
}


def blocks(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    found = re.findall(r"^( *)```sh\n(.*?)^\1```", text, re.M | re.S)
    return [line for _, code in found for line in commands(textwrap.dedent(code))]


def spans(path: Path) -> list[str]:
    text = re.sub(r"^( *)```.*?^\1```", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    return re.findall(r"`([^`\n]+)`", text)


def words(line: str) -> list[str]:
    try:
        return shlex.split(line.replace("\\\n", " "), comments=True)
    except ValueError:  # a span that is a piece of text
        return []


def arguments(line: str) -> Iterator[list[str]]:
    """The words after each `askdocs` of a line, up to a pipe."""
    typed = words(line)
    if typed[:2] == ["make", "run"]:
        given = dict(word.partition("=")[::2] for word in typed[2:])
        yield ["up", *shlex.split(given.get("ARGS", ""))]
    for at, word in enumerate(typed[:-1]):
        before = typed[at - 1] if at else ";"
        if word not in PROGRAM or (before not in BEFORE and "=" not in before):
            continue
        rest = typed[at + 1 :]
        yield rest[: next((n for n, one in enumerate(rest) if one in ENDS), len(rest))]


def command(typed: list[str]) -> tuple[Any, list[str]]:
    """The command that is named, and what follows its name."""
    found: Any = typer.main.get_command(app)
    while hasattr(found, "commands") and typed and typed[0] in found.commands:
        found, typed = found.commands[typed[0]], typed[1:]
    return found, typed


@pytest.mark.parametrize("lines", [blocks, spans])
def test_commands_are_found_in_blocks_and_in_the_text(lines: Callable[[Path], list[str]]) -> None:
    found = [typed for path in WRITTEN for line in lines(path) for typed in arguments(line)]
    assert len(found) > 100


@every_page
def test_every_command_of_a_block_is_one_that_the_command_line_takes(path: Path) -> None:
    for line in blocks(path):
        for typed in arguments(line):
            found, rest = command(typed)
            found.make_context(found.name, rest)  # raises what is wrong


@every_page
def test_every_command_in_the_text_exists_and_has_its_options(path: Path) -> None:
    for line in spans(path):
        for typed in arguments(line):
            found, rest = command(typed)
            assert found is not typer.main.get_command(app) or rest[0].startswith("-"), line
            known = {name for one in found.params for name in one.opts + one.secondary_opts}
            named = {word.partition("=")[0] for word in rest if word.startswith("-")}
            assert named <= known | {"--help"}, line


@every_page
def test_every_module_and_script_that_a_page_runs_is_there(path: Path) -> None:
    for line in [*blocks(path), *spans(path)]:
        typed = words(line)
        modules = [b for a, b in pairwise(typed) if a == "-m" and b.startswith(OURS)]
        files = [Path(*one.split(".")) for one in modules]
        found = [
            ROOT.joinpath(file).with_suffix(".py").is_file() or ROOT.joinpath(file).is_dir()
            for file in files
        ]
        scripts = [one for one in typed if re.fullmatch(r"(scripts|tests)/[\w/]+\.(py|sh)", one)]
        assert all(found + [(ROOT / one).is_file() for one in scripts]), line


@every_page
def test_every_service_that_a_page_names_for_compose_is_there(path: Path) -> None:
    for line in [*blocks(path), *spans(path)]:
        typed = words(line)
        if typed[:2] != ["docker", "compose"]:
            continue
        for at, verb in enumerate(typed):
            if verb in ("start", "stop", "restart"):
                rest = [one for one in typed[at + 1 :] if not one.startswith("-")]
                assert set(rest) <= SERVICES, line
            if verb in ("exec", "run", "logs"):
                assert SERVICES & set(typed[at + 1 :]), line


@every_page
def test_every_setting_of_a_toml_block_is_one_that_there_is(path: Path, tmp_path: Path) -> None:
    sections = {model.section: model for model in SETTINGS}
    for code in fences(path, "toml"):
        named = tomllib.loads(code)
        if not named.keys() & sections.keys():
            continue  # of a recipe, or of another program
        assert named.keys() <= sections.keys(), code
        file = tmp_path / "askdocs.toml"
        file.write_text(code)
        for name in named:
            load(sections[name], env={}, file=file)  # raises what is wrong


@every_page
def test_every_path_of_the_apis_is_one_that_they_have(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    named = re.findall(r"127\.0\.0\.1:(?:4000|8080)(/[\w./-]+)", text)
    named += re.findall(r"[`\s](/(?:v1|askdocs)/[\w./-]+)", text)
    known = [re.sub(r"\\{\w+\\}", "[^/]+", re.escape(one)) for one in PATHS]
    named = [one.rstrip("./") for one in named]  # without the end of a sentence
    wrong = [one for one in named if one != "/v1" and not any(re.fullmatch(k, one) for k in known)]
    assert wrong == []
