"""deploy/compose.router.yaml beside compose.yaml: what it adds, and its names."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.settings import load
from gateway.routing import aliases
from gateway.settings import GatewaySettings
from tests.parts import require

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "deploy" / "compose.router.yaml"
ADDED: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))["services"]
BASE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
REPLICAS = ("vllm-a", "vllm-b")
OWN = (*REPLICAS, "router")


def test_what_it_extends_is_there_and_what_it_adds_is_new() -> None:
    assert ADDED.keys() - set(OWN) == {"model", "gateway", "widget", "prometheus"}
    assert ADDED.keys() - set(OWN) <= BASE["services"].keys()
    assert not set(OWN) & BASE["services"].keys()
    used = {name for one in OWN for name in ADDED[one]["networks"]}
    assert used == {"engines"}
    assert BASE["networks"]["engines"] == {"internal": True}
    assert {v["source"] for one in REPLICAS for v in ADDED[one]["volumes"]} <= BASE[
        "volumes"
    ].keys()


@pytest.mark.parametrize("name", OWN)
def test_its_containers_are_as_closed_as_the_others(name: str) -> None:
    service = ADDED[name]
    assert service["profiles"] == ["router"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service["user"].startswith("0")
    assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory", "pids"}
    assert service["logging"] == BASE["x-closed"]["logging"]
    assert service["healthcheck"]["test"][0] == "CMD"
    assert "ports" not in service


@pytest.mark.parametrize("name", REPLICAS)
def test_a_replica_is_the_vllm_of_one_gpu(name: str) -> None:
    one, other = ADDED[name], BASE["services"]["vllm"]
    assert one["image"] == other["image"]
    assert one["command"] == other["command"]
    assert one["environment"].items() >= other["environment"].items()
    for key in ("entrypoint", "user", "tmpfs", "shm_size", "volumes"):
        assert one[key] == other[key]
    (device,) = one["deploy"]["resources"]["reservations"]["devices"]
    assert device["device_ids"] == [str(REPLICAS.index(name))]


def test_the_router_asks_the_replicas_and_is_the_engine_that_others_ask() -> None:
    router = ADDED["router"]
    words = router["command"]
    first = words.index("--worker-urls") + 1
    assert words[first : first + 2] == [f"http://{name}:8001" for name in REPLICAS]
    assert router["networks"]["engines"]["aliases"] == ["engine"]
    asked = BASE["services"]["gateway"]["environment"]["ASKDOCS_GATEWAY_ENGINE_URL"]
    assert asked == f"http://engine:{words[words.index('--port') + 1]}/v1"
    assert set(REPLICAS) == router["depends_on"].keys()
    assert ADDED["gateway"]["depends_on"]["router"]["required"] is False
    dockerfile = (ROOT / "deploy" / "Dockerfile.router").read_text(encoding="utf-8")
    assert router["build"]["dockerfile"] == "deploy/Dockerfile.router"
    assert "--require-hashes" in dockerfile
    assert "requirements/bench.lock" in dockerfile
    assert f"USER {router['user']}" in dockerfile
    # The images of both are the one that is pinned there.
    pinned = set(re.findall(r"^FROM (\S+)", dockerfile, re.M))
    main = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    assert pinned == {re.findall(r"^FROM (\S+@sha256:\w+)", main, re.M)[0]}


def test_every_alias_falls_back_on_the_router_once_more() -> None:
    environment = BASE["services"]["gateway"]["environment"]
    (volume,) = ADDED["gateway"]["volumes"]
    assert ADDED["widget"]["volumes"] == [volume]
    assert volume["target"] == environment["ASKDOCS_CONFIG"]
    file = ROOT / volume["source"].removeprefix("${CONFIG:-").removesuffix("}")
    settings = load(GatewaySettings, env={}, file=file)
    (name,) = settings.models
    assert settings.models[name].url == environment["ASKDOCS_GATEWAY_ENGINE_URL"]
    assert settings.models[name].model == environment["ASKDOCS_GATEWAY_ENGINE_MODEL"]
    assert settings.aliases == {
        alias: default.model_copy(update={"fallback": (name,)})
        for alias, default in aliases.DEFAULT.items()
    }


def test_prometheus_asks_each_replica_and_the_router() -> None:
    command = ADDED["prometheus"]["command"]
    (file,) = (word.partition("=")[2] for word in command if word.startswith("--config.file="))
    here = ROOT / "deploy" / "prometheus" / Path(file).name
    said = yaml.safe_load(here.read_text(encoding="utf-8"))
    targets = {
        job["job_name"]: job["static_configs"][0]["targets"] for job in said["scrape_configs"]
    }
    assert targets["engine"] == [f"{name}:8001" for name in REPLICAS]
    words = ADDED["router"]["command"]
    assert targets["router"] == [f"router:{words[words.index('--prometheus-port') + 1]}"]
    one = yaml.safe_load(here.with_name("prometheus.yml").read_text(encoding="utf-8"))
    others = {
        job["job_name"]: job["static_configs"][0]["targets"]
        for job in one["scrape_configs"]
        if job["job_name"] != "engine"
    }
    assert others.items() <= targets.items()
    assert said["rule_files"] == one["rule_files"]
    # The rest of the command is that of one engine.
    own = [word for word in command if not word.startswith("--config.file=")]
    theirs = BASE["services"]["prometheus"]["command"]
    assert own == [word for word in theirs if not word.startswith("--config.file=")]
    require(shutil.which("promtool") is not None, "apt-get install prometheus")
    done = subprocess.run(["promtool", "check", "config", here], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
