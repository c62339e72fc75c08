"""The runbook has for every alert what to type, wherever askdocs runs, and all of it exists."""

import re
import shlex
import subprocess
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from tests.containers import ROOT, compose
from tests.runbook import DOCS, RUNBOOK, Command, commands, sections
from widget.service.failure import Reason

OPERATIONS = DOCS / "how-to/production.md"
ALL = [command for page in (RUNBOOK, OPERATIONS) for command in commands(page)]
RULES = ROOT / "deploy" / "prometheus" / "rules" / "askdocs.yml"
(GROUP,) = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
# Ours, that of the engines, and that of the databases, which are yours.
NAMESPACES = {"askdocs", "vllm", "databases"}


def shown(command: Command) -> str:
    return f"{command.alert}: {shlex.join(command.words)}"


@pytest.mark.parametrize("rule", GROUP["rules"], ids=lambda rule: rule["alert"])
def test_each_alert_leads_to_commands_for_a_machine_for_compose_and_for_kubernetes(
    rule: dict[str, Any],
) -> None:
    anchor = rule["annotations"]["runbook_url"].partition("#")[2]
    places = {command.place for command in commands(RUNBOOK) if command.alert == anchor}
    assert places == {"machine", "compose", "kubernetes"}


# What the gateway says of each question, and of each request, after it has said what is wrong.
ASKED = """» reading “Backup”, 1 of 9 sections (290 tokens, at most 4 s)
» answered in 4.1 s, first words after 2.0 s
{"request_id":"a","status":200}
"""


@pytest.mark.parametrize(
    "command",
    [
        one
        for one in ALL
        if one.alert in ("askdocserrors", "askdocsusagenotwritten")
        and "gateway" in shlex.join(one.words)
        and "status" not in one.pipe
    ],
    ids=shown,
)
def test_what_is_wrong_is_not_hidden_by_what_is_asked(command: Command, tmp_path: Path) -> None:
    said = "base did not answer (503)\n" + 50 * ASKED
    if command.place == "compose":  # 2.26 clears each line before it writes it, also into a pipe
        said = re.sub("^(?=[»{])", "\x1b[2K", said, flags=re.M)
    log = tmp_path / ".askdocs" / "logs" / "gateway.log"
    log.parent.mkdir(parents=True)
    log.write_text(said.replace('{"request_id":"a","status":200}\n', ""), encoding="utf-8")
    typed = command.pipe
    if command.place == "machine":
        typed = " | ".join(filter(None, (shlex.join(command.words), command.pipe)))
    done = subprocess.run(
        ["sh", "-c", typed],
        cwd=tmp_path,
        input=said,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "base did not answer (503)\n"


def test_each_reason_for_which_the_box_fails_is_explained() -> None:
    said = sections(RUNBOOK)["askdocswidgetfails"]
    assert set(get_args(Reason)) <= set(re.findall(r"`(\w+)`", said))


def test_an_upgrade_restarts_what_reads_files_of_the_repository_when_it_starts() -> None:
    # Compose starts again what has another image or other settings, not what has other files.
    services = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    reads = {
        name
        for name, service in services.items()
        for volume in service.get("volumes", [])
        if isinstance(volume, dict) and volume["source"].startswith("./deploy/")
    }
    reads -= {"grafana", "backup"}  # looks every ten seconds; starts whenever it is asked
    (row,) = re.findall(r"^\| \[upgrade\].*$", OPERATIONS.read_text(encoding="utf-8"), re.M)
    (named,) = re.findall(r"`docker compose restart ([\w ]+)`", row)
    assert set(named.split()) == reads


@cache
def options(verb: str) -> set[str]:
    """Of `docker compose VERB`, by its own help."""
    done = subprocess.run([*compose(), verb, "--help"], capture_output=True, text=True, check=True)
    return set(re.findall(r"(?<!\w)--?[a-zA-Z][\w-]*", done.stdout))


@pytest.mark.slow
@pytest.mark.parametrize("command", [one for one in ALL if one.place == "compose"], ids=shown)
def test_each_command_of_compose_has_options_and_services_that_there_are(command: Command) -> None:
    if command.words[1] != "compose":
        return  # Docker's own command, of which nothing is here
    verb, *rest = command.words[2:]
    services = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    named = [word for word in rest if word in services]
    if verb in ("exec", "run"):  # what follows is the container's own
        rest = rest[: rest.index(named[0])]
    assert {word.partition("=")[0] for word in rest if word.startswith("-")} <= options(verb)
    others = {word for word in rest if not word.startswith("-") and not word.isdigit()}
    assert others <= services.keys()
    assert named or verb in ("ps", "up")


@cache
def manifests() -> list[dict[str, Any]]:
    """The metadata of all that deploy/kubernetes makes, with its kind."""
    files = sorted((ROOT / "deploy" / "kubernetes").glob("*.yaml"))
    texts = [file.read_text(encoding="utf-8") for file in files]
    objects = chain.from_iterable(map(yaml.safe_load_all, texts))
    return [{"kind": one["kind"], **one["metadata"]} for one in objects if "metadata" in one]


@pytest.mark.parametrize("command", [one for one in ALL if one.place == "kubernetes"], ids=shown)
def test_each_command_of_kubectl_names_what_is_in_the_manifests(command: Command) -> None:
    assert command.words[command.words.index("-n") + 1] in NAMESPACES
    values = ROOT / "deploy" / "helm" / "vllm-production-stack-values.yaml"
    chart = yaml.safe_load(values.read_text(encoding="utf-8"))
    labels = [chart[part]["labels"] for part in ("servingEngineSpec", "routerSpec")]
    labels += [one.get("labels", {}) for one in manifests()]
    for option, value in zip(command.words, command.words[1:], strict=False):
        if option == "-l":
            key, _, wanted = value.partition("=")
            assert wanted in [one.get(key) for one in labels]
    kinds = {"deploy": "Deployment", "cronjob": "CronJob"}
    for kind, name in re.findall(r"\b(deploy|cronjob)/([\w-]+)", shlex.join(command.words)):
        assert (kinds[kind], name) in [(one["kind"], one["name"]) for one in manifests()]
