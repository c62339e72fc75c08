"""deploy/kubernetes and deploy/helm, which no machine without a cluster can run.

Every object fits Kubernetes' own schemas, the names in them lead somewhere, and the network lets
through what the settings need and nothing else.
"""

import ipaddress
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from starlette.testclient import TestClient

from askdocs.capacity.gpus import GPUS
from askdocs.capacity.plan import make
from askdocs.capacity.setup import GIB
from core.settings import Section, load, variable
from gateway.http.hosts import OPEN
from gateway.settings import GatewaySettings
from gateway.telemetry import tracing
from tests.capacity.sizes import setup
from tests.parts import require
from tests.runbook import DOCS, RUNBOOK, commands, sections
from widget.app import create_app
from widget.settings import WidgetSettings

ROOT = Path(__file__).resolve().parents[2]
BASE = ROOT / "deploy" / "kubernetes"
HELM = ROOT / "deploy" / "helm"
VALUES = HELM / "vllm-production-stack-values.yaml"
SECTIONS: dict[str, type[Section]] = {"gateway": GatewaySettings, "widget": WidgetSettings}
# The oldest with the native `sleep` before a stop, and the newest that the schemas know.
VERSIONS = ("1.30", kubernetes_validate.latest_version().rpartition(".")[0])
WORKLOADS = ("gateway", "widget", "sync")

Object = dict[str, Any]


class Pod(NamedTuple):
    """A pod as a network policy sees it."""

    namespace: str
    labels: dict[str, str]


@cache
def objects(folder: Path = BASE) -> list[Object]:
    """What kustomize makes of the folder, but for images and generated names."""
    said = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    found = []
    for name in said["resources"]:
        for one in yaml.safe_load_all((folder / name).read_text(encoding="utf-8")):
            if one["kind"] != "Namespace":
                one["metadata"]["namespace"] = said["namespace"]
            found.append(one)
    return found


def of(kind: str, name: str | None = None, folder: Path = BASE) -> list[Object]:
    named = [one for one in objects(folder) if one["kind"] == kind]
    return [one for one in named if name in (None, one["metadata"]["name"])]


def template(name: str) -> Object:
    """The pods of a Deployment or CronJob."""
    (found,) = of("Deployment", name) or of("CronJob", name)
    spec = found["spec"]
    found = spec["template"] if "template" in spec else spec["jobTemplate"]["spec"]["template"]
    return dict(found)


def container(name: str) -> Object:
    (found,) = template(name)["spec"]["containers"]
    return dict(found)


def read(file: Path) -> Object:
    return dict(yaml.safe_load(file.read_text(encoding="utf-8")))


# What Kubernetes says


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("folder", [BASE, BASE / "engines"])
def test_every_object_fits_its_schema_and_has_no_other_fields(folder: Path, version: str) -> None:
    for one in objects(folder):
        kubernetes_validate.validate(one, version, strict=True)


@pytest.mark.slow
@pytest.mark.parametrize("folder", [BASE, BASE / "engines"])
def test_kubectl_renders_the_objects_that_are_checked_here(folder: Path) -> None:
    require(shutil.which("kubectl") is not None, "apt-get install kubernetes-client")
    command = ["kubectl", "kustomize", str(folder)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rendered = list(yaml.safe_load_all(text))
    for one in rendered:
        kubernetes_validate.validate(one, VERSIONS[-1], strict=True)
    # What kustomize generates has the hash of its content in its name, there and where it is used.
    generated = [one["metadata"]["name"] for one in rendered if one["kind"] == "ConfigMap"]
    for name in generated:
        assert text.count(f"name: {name}\n") > 1
    names = {(one["kind"], one["metadata"]["name"]) for one in rendered}
    assert names == {(one["kind"], one["metadata"]["name"]) for one in objects(folder)} | {
        ("ConfigMap", name) for name in generated
    }
    if folder == BASE:
        assert set(re.findall(r"image: (.*)", text)) == {"registry.example.com/askdocs:0.1.0"}


@pytest.mark.slow
def test_the_ingress_of_the_docs_fits_and_leads_to_the_widget() -> None:
    said = (ROOT / "docs" / "how-to/kubernetes.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```yaml\n(.*?)```", said, re.DOTALL)
    ingress = yaml.safe_load(text)
    kubernetes_validate.validate(ingress, VERSIONS[0], strict=True)
    (rule,) = ingress["spec"]["rules"]
    (service,) = of("Service", rule["http"]["paths"][0]["backend"]["service"]["name"])
    assert ingress["metadata"]["namespace"] == service["metadata"]["namespace"]


@pytest.mark.slow
def test_a_misspelt_field_would_be_seen() -> None:
    (found,) = of("PodDisruptionBudget", "gateway")
    wrong = {**found, "spec": {**found["spec"], "maxUnavailabel": 1}}
    with pytest.raises(kubernetes_validate.ValidationError, match="maxUnavailabel"):
        kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)


@pytest.mark.parametrize("folder", [BASE, BASE / "engines"])
def test_every_file_is_a_part(folder: Path) -> None:
    said = read(folder / "kustomization.yaml")
    generated = [file for one in said.get("configMapGenerator", []) for file in one["files"]]
    there = {file.name for file in folder.iterdir() if file.is_file()}
    assert there == {"kustomization.yaml", *said["resources"], *generated}


@pytest.mark.parametrize("name", WORKLOADS)
def test_pods_are_what_the_namespace_wants_restricted(name: str) -> None:
    (namespace,) = of("Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    pod, only = template(name)["spec"], container(name)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"cpu", "memory"} == only["resources"]["requests"].keys()
    assert "memory" in only["resources"]["limits"]
    # As the image has it, so that what a new volume holds can be written.
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    assert f"USER {pod['securityContext']['runAsUser']}:" in dockerfile


@pytest.mark.parametrize("name", WORKLOADS)
def test_what_is_mounted_is_there_and_what_is_written_is_mounted(name: str) -> None:
    volumes = {one["name"] for one in template(name)["spec"]["volumes"]}
    mounts = {one["mountPath"]: one["name"] for one in container(name)["volumeMounts"]}
    assert set(mounts.values()) == volumes
    env = {one["name"]: one.get("value", "") for one in container(name)["env"]}
    written = [env.get("ASKDOCS_HOME", "/tmp"), env.get("ASKDOCS_GATEWAY_INDEX", "/tmp/x"), "/tmp"]
    assert all(any(place.startswith(path) for path in mounts) for place in written)


# What is named is there


@pytest.mark.parametrize("name", ["gateway", "widget"])
def test_services_budgets_and_autoscalers_mean_the_pods(name: str) -> None:
    labels = template(name)["metadata"]["labels"]
    (deployment,) = of("Deployment", name)
    (service,) = of("Service", name)
    (budget,) = of("PodDisruptionBudget", name)
    (scaler,) = of("HorizontalPodAutoscaler", name)
    for selector in (
        deployment["spec"]["selector"]["matchLabels"],
        service["spec"]["selector"],
        budget["spec"]["selector"]["matchLabels"],
        *(
            one["labelSelector"]["matchLabels"]
            for one in template(name)["spec"]["topologySpreadConstraints"]
        ),
    ):
        assert selector.items() <= labels.items()
        assert "app.kubernetes.io/name" in selector  # else other pods are meant, too
    target = scaler["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", name)
    assert target["apiVersion"] == deployment["apiVersion"]
    assert "replicas" not in deployment["spec"]  # every apply would undo what the scaler did
    # One may be taken away without the last one going.
    assert scaler["spec"]["minReplicas"] > budget["spec"]["maxUnavailable"]


@pytest.mark.parametrize("name", ["gateway", "widget"])
def test_ports_are_those_that_are_listened_on(name: str) -> None:
    (port,) = container(name)["ports"]
    (service,) = of("Service", name)
    (served,) = service["spec"]["ports"]
    assert served["targetPort"] == port["name"]
    assert settings(name).port == port["containerPort"] == served["port"]
    assert settings(name).host == "0.0.0.0"


@pytest.mark.parametrize("name", ["gateway", "widget"])
def test_probes_ask_what_answers_without_a_key(name: str) -> None:
    probes = [container(name)[f"{kind}Probe"]["httpGet"] for kind in PROBES]
    assert {probe["port"] for probe in probes} == {"http"}
    paths = {probe["path"] for probe in probes}
    if name == "gateway":
        assert paths <= OPEN
        return
    client = TestClient(create_app(WidgetSettings()))
    assert {client.get(path).status_code for path in paths} == {200}


def test_an_ingress_is_believed_on_whichever_network_its_pods_are() -> None:
    """Of kubeadm and kind, Amazon's EKS, Calico, and where pods have a carrier's addresses."""
    networks = [ipaddress.ip_network(one) for one in settings("widget").trusted_proxies]
    for address in ("10.244.1.7", "172.31.20.9", "192.168.77.3", "100.64.8.2"):
        assert any(ipaddress.ip_address(address) in network for network in networks), address
    assert not any(ipaddress.ip_address("203.0.113.9") in network for network in networks)
    assert {name for name, pod in EVERYBODY.items() if reaches(pod, WIDGET, 8080)} <= {
        *("ingress", "monitoring", "widget"),
    }


def test_answers_under_way_may_end_before_the_pod_does() -> None:
    grace = template("gateway")["spec"]["terminationGracePeriodSeconds"]
    pause = container("gateway")["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert grace > pause + settings("gateway").drain
    # Long ones, too: 250 tokens at the 10 a second of `askdocs plan`, and the reading before them.
    assert settings("gateway").drain > 25 + 10


PROBES = ("startup", "liveness", "readiness")


def settings(name: str) -> Any:
    """As the process would load them. Fails for what is no setting, or no value for it."""
    model = SECTIONS[name]
    said = container(name)["env"]
    env = {
        one["name"]: one.get("value") or SECRETS[one["valueFrom"]["secretKeyRef"]["key"]]
        for one in said
    }
    known = {variable(model, key) for key in model.model_fields}
    assert env.keys() - {"ASKDOCS_HOME", "ASKDOCS_CONFIG"} <= known
    mount = next(m for m in container(name)["volumeMounts"] if m["name"] == "settings")
    place = Path(env.pop("ASKDOCS_CONFIG"))
    assert str(place.parent) == mount["mountPath"]
    return load(model, env=env, file=BASE / place.name)


SECRETS = {
    "key": "ask-0123456789-secret",
    "engine-key": "secret",
    "database-url": "postgresql://askdocs:secret@db.databases:5432/askdocs",
    "redis-url": "redis://:secret@redis.databases:6379/0",
    "widget-secret": "secret" * 6,
    "previous-key": "ask-0123456789-former",
    "previous-widget-secret": "former" * 6,
}


def secrets(name: str) -> list[Object]:
    return [one for one in container(name)["env"] if "valueFrom" in one]


def references() -> Iterator[dict[str, str]]:
    for name in WORKLOADS:
        for one in secrets(name):
            yield one["valueFrom"]["secretKeyRef"]


def test_the_docs_make_the_secrets_that_are_referred_to() -> None:
    said = (ROOT / "docs" / "how-to/kubernetes.md").read_text(encoding="utf-8")
    (made,) = re.findall(r"secret generic askdocs .*?(?=\n```|\nkubectl)", said, re.DOTALL)
    keys = set(re.findall(r"--from-literal=([\w-]+)=", made))
    assert keys == {one["key"] for one in references() if "optional" not in one}
    assert SECRETS.keys() == {one["key"] for one in references()}
    assert {one["name"] for one in references()} == {"askdocs"}
    (vllm,) = re.findall(r"secret generic vllm .*?(?=\n```)", said, re.DOTALL)
    values = read(VALUES)["servingEngineSpec"]
    wanted = [values["vllmApiKey"], *(one["hf_token"] for one in values["modelSpec"])]
    assert {one["secretName"] for one in wanted} == {"vllm"}
    assert set(re.findall(r"--from-literal=([\w-]+)=", vllm)) == {o["secretKey"] for o in wanted}


@pytest.mark.parametrize("name", SECTIONS)
def test_what_a_secret_was_before_can_be_given_and_need_not_be(name: str) -> None:
    model = SECTIONS[name]
    former = {variable(model, key) for key in model.model_fields if key.startswith("previous_")}
    optional = {
        one["name"]
        for one in container(name)["env"]
        if one.get("valueFrom", {}).get("secretKeyRef", {}).get("optional")
    }
    assert former == optional != set()


def test_the_commands_that_rotate_name_the_secret_and_its_keys() -> None:
    patches = [
        one.words
        for one in commands(ROOT / "docs" / "how-to/production.md")
        if one.words[:2] == ["kubectl", "patch"]
    ]
    changed = []
    for words in patches:
        assert words[2] == "secret/askdocs"
        patch = json.loads(words[words.index("-p") + 1])
        if isinstance(patch, dict):
            changed += patch["stringData"]
            continue
        assert words[words.index("--type") + 1] == "json"
        ((op, *paths),) = [one.values() for one in patch]
        assert op in ("copy", "remove")
        changed += [path.removeprefix("/data/") for path in paths]
    assert changed == ["key", "previous-key", "key", "previous-key"]
    assert set(changed) <= {one["key"] for one in references()}


def test_no_secret_stands_in_a_file() -> None:
    for name in WORKLOADS:
        for one in container(name)["env"]:
            assert ("valueFrom" in one) == bool(re.search(r"KEY|SECRET|_URL$", one["name"]))


def test_the_gateway_asks_the_router_for_the_model_that_is_served() -> None:
    gateway = settings("gateway")
    values = read(VALUES)
    router = values["routerSpec"]
    url = urlsplit(gateway.engine_url)
    # The chart calls its service RELEASE-router-service; release and namespace are in the command.
    command = VALUES.read_text(encoding="utf-8")
    release, namespace = re.findall(r"--install (\w+) .*--namespace (\w+)", command)[0]
    assert url.hostname == f"{release}-router-service.{namespace}"
    assert (url.port or 80) == router["servicePort"]
    assert read(BASE / "engines" / "kustomization.yaml")["namespace"] == namespace
    assert router["routingLogic"] == "prefixaware"
    for model in values["servingEngineSpec"]["modelSpec"]:
        words = model["vllmConfig"]["extraArgs"]
        assert words[words.index("--served-model-name") + 1] == gateway.engine_model
        assert model["vllmConfig"]["enablePrefixCaching"] is True


def test_no_label_of_the_values_is_one_that_the_chart_sets() -> None:
    """https://github.com/vllm-project/production-stack/pull/810; the rest is in its templates."""
    values = read(VALUES)
    labels = values["servingEngineSpec"]["labels"].keys() | values["routerSpec"]["labels"].keys()
    assert not labels & {"model", "helm-release-name", "environment", "release"}
    assert not [label for label in labels if label.startswith("app.kubernetes.io/")]


def test_what_an_engine_had_not_begun_is_asked_for_again() -> None:
    gateway = settings("gateway")
    again = gateway.models["again"]
    assert (again.url, again.model) == (gateway.engine_url, gateway.engine_model)
    # With the same key, which the pod has under that name.
    keys = {one["name"]: one["valueFrom"]["secretKeyRef"]["key"] for one in secrets("gateway")}
    assert keys[again.key_env] == keys["ASKDOCS_GATEWAY_ENGINE_KEY"]
    for name, alias in gateway.aliases.items():
        assert alias.fallback == ("again",), name


def test_engines_are_upgraded_on_the_gpus_that_are_there_while_another_one_answers() -> None:
    engines = read(VALUES)["servingEngineSpec"]
    rolling = engines["strategy"]["rollingUpdate"]
    assert rolling["maxSurge"] == 0
    assert all(model["replicaCount"] > rolling["maxUnavailable"] for model in engines["modelSpec"])


def test_vllm_is_the_image_of_compose() -> None:
    compose = read(ROOT / "compose.yaml")["services"]["vllm"]["image"]
    (model,) = read(VALUES)["servingEngineSpec"]["modelSpec"]
    assert f"{model['repository']}:{model['tag']}" == compose


def test_the_models_fit_the_gpus_that_the_docs_name_and_their_volumes() -> None:
    said = (ROOT / "docs" / "how-to/kubernetes.md").read_text(encoding="utf-8")
    named = [gpu for gpu in GPUS if re.search(rf"\b{gpu}\b", said, re.IGNORECASE)]
    assert named
    (model,) = read(VALUES)["servingEngineSpec"]["modelSpec"]
    config = model["vllmConfig"]
    words = config["extraArgs"]
    assumed = {"gpu_memory_utilization": config["gpuMemoryUtilization"]}
    if lora := "--enable-lora" in words:
        assumed["lora_rank"] = int(words[words.index("--max-lora-rank") + 1])
    for gpu in named:
        asked = setup(
            model["modelURL"],
            gpu,
            gpus=config.get("tensorParallelSize", 1) * config.get("pipelineParallelSize", 1),
            context=config["maxModelLen"],
            # The planner counts one place more than adapters.
            adapters=config["maxLoras"] - 1 if lora else 0,
            **assumed,
        )
        planned = make(asked, asked.gpus, None)  # raises for what does not fit
        weights = planned.memory.weights * asked.gpus
        assert weights < float(model["pvcStorage"].removesuffix("Gi")) * GIB


def test_no_container_comes_that_the_values_do_not_name() -> None:
    (model,) = read(VALUES)["servingEngineSpec"]["modelSpec"]
    assert not model.get("enableLoRA")  # its sidecar is `latest`


# Who may talk to whom


def policies() -> list[Object]:
    return [*of("NetworkPolicy"), *of("NetworkPolicy", folder=BASE / "engines")]


def matches(selector: Object, labels: dict[str, str]) -> bool:
    for one in selector.get("matchExpressions", []):
        assert one["operator"] == "In"
        if labels.get(one["key"]) not in one["values"]:
            return False
    return bool(selector.get("matchLabels", {}).items() <= labels.items())


def holds(block: Object, address: str) -> bool:
    at = ipaddress.ip_address(address)
    return at in ipaddress.ip_network(block["cidr"]) and not any(
        at in ipaddress.ip_network(one) for one in block.get("except", [])
    )


def is_peer(said: Object, pod: Pod | None, home: str) -> bool:
    """Is it one of those meant? `pod` None: an address outside of the cluster."""
    if pod is None or "ipBlock" in said:
        return pod is None and "ipBlock" in said and holds(said["ipBlock"], "203.0.113.9")
    where = {"kubernetes.io/metadata.name": pod.namespace}
    inside = "namespaceSelector" in said or pod.namespace == home
    return (
        inside
        and matches(said.get("namespaceSelector", {}), where)
        and matches(said.get("podSelector", {}), pod.labels)
    )


def lets(direction: str, pod: Pod, other: Pod | None, port: int) -> bool:
    """Do the policies of `pod` let this through? Without any policy for it everything is."""
    key, side = (("ingress", "from"), ("egress", "to"))[direction == "Egress"]
    ruled = [
        one
        for one in policies()
        if one["metadata"]["namespace"] == pod.namespace
        and direction in one["spec"]["policyTypes"]
        and matches(one["spec"]["podSelector"], pod.labels)
    ]
    return not ruled or any(
        any(is_peer(peer, other, pod.namespace) for peer in rule[side])
        and any(p["port"] == port for p in rule.get("ports", [{"port": port}]))
        for one in ruled
        for rule in one["spec"].get(key, [])
    )


def reaches(pod: Pod | None, other: Pod | None, port: int) -> bool:
    out = pod is None or lets("Egress", pod, other, port)
    return out and (other is None or lets("Ingress", other, pod, port))


def ours(name: str) -> Pod:
    return Pod("askdocs", template(name)["metadata"]["labels"])


def theirs(part: str) -> Pod:
    return Pod("vllm", read(VALUES)[part]["labels"])


GATEWAY, WIDGET, SYNC = map(ours, WORKLOADS)
ROUTER, ENGINE = theirs("routerSpec"), theirs("servingEngineSpec")
DATABASE = Pod("databases", {"any": "thing"})
INGRESS = Pod("ingress-nginx", {"any": "thing"})
MONITORING = Pod("monitoring", {"any": "thing"})
STRANGER = Pod("default", {"app.kubernetes.io/name": "gateway"})  # one may call itself anything
DNS = Pod("kube-system", {"k8s-app": "kube-dns"})
EVERYBODY: dict[str, Pod | None] = {
    "gateway": GATEWAY,
    "widget": WIDGET,
    "sync": SYNC,
    "router": ROUTER,
    "engine": ENGINE,
    "database": DATABASE,
    "ingress": INGRESS,
    "monitoring": MONITORING,
    "stranger": STRANGER,
    "dns": DNS,
    "internet": None,
}


def collector() -> SplitResult:
    """Where the docs send traces, from gateway and widget as from vLLM."""
    said = (ROOT / "docs" / "how-to/monitoring.md").read_text(encoding="utf-8")
    made = r"configmap (\w+) -n askdocs --from-literal=(\w+)=(\S+)"
    ((config, key, url),) = re.findall(made, said)
    for name in ("gateway", "widget"):
        assert container(name)["envFrom"] == [{"configMapRef": {"name": config, "optional": True}}]
    wanted = tracing.endpoint({key: url})
    assert f"# - --otlp-traces-endpoint\n          # - {wanted}\n" in VALUES.read_text(
        encoding="utf-8"
    )
    (model,) = read(VALUES)["servingEngineSpec"]["modelSpec"]
    protocol = {"name": "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "value": tracing.PROTOCOL}
    assert protocol in model["env"]
    found: SplitResult = urlsplit(url)
    assert (found.hostname or "").partition(".")[2] == MONITORING.namespace
    return found


def needed() -> set[tuple[str, str, int]]:
    """What the settings say that is asked, and who asks from outside."""
    gateway, widget, router = settings("gateway"), settings("widget"), read(VALUES)["routerSpec"]
    ports = {
        urlsplit(SECRETS["database-url"]).port: ("gateway", "widget", "sync"),
        urlsplit(SECRETS["redis-url"]).port: ("gateway", "widget"),
    }
    found = {(who, "database", int(port or 0)) for port, all in ports.items() for who in all}
    assert urlsplit(widget.gateway_url).hostname == "gateway"
    found.add(("widget", "gateway", urlsplit(widget.gateway_url).port or 0))
    found.add(("gateway", "router", router["containerPort"]))
    found.add(("router", "engine", read(VALUES)["servingEngineSpec"]["containerPort"]))
    wiki = urlsplit(container("sync")["command"][-1])
    assert wiki.scheme == "https"
    found.add(("sync", "internet", 443))
    found |= {(who, "dns", 53) for who in WORKLOADS}
    found |= {(who, "monitoring", collector().port or 0) for who in ("gateway", "widget")}
    for who in ("ingress", "monitoring"):
        found |= {(who, "gateway", gateway.port), (who, "widget", widget.port)}
    return found


def test_the_network_lets_through_what_is_needed_and_nothing_else() -> None:
    guarded = {"gateway", "widget", "sync"}  # both ways; who comes to the others is theirs
    ports = (53, 80, 443, 4000, 4318, 5432, 6379, 8000, 8080)
    open_ways = {
        (one, other, port)
        for one, pod in EVERYBODY.items()
        for other, its in EVERYBODY.items()
        for port in ports
        if one != other and (one in guarded or other in guarded) and reaches(pod, its, port)
    }
    assert open_ways == {way for way in needed() if guarded & set(way[:2])}


def test_what_has_to_get_out_is_typed_nowhere_that_has_no_way_out() -> None:
    operations = sections(DOCS / "how-to/production.md")
    jobs = re.findall(r"--from=cronjob/(\w+)", operations["kubernetes"])
    assert jobs
    assert all(reaches(ours(job), None, 443) for job in jobs)
    assert not reaches(GATEWAY, None, 443)
    # A bare `askdocs` is for the gateway's pod, in the text of the runbook as well.
    texts = [operations["command-prefix"], *sections(RUNBOOK).values()]
    lines = [line for text in texts for line in text.splitlines()]
    told = {line: re.findall(r"(?:`|-- )askdocs ([a-z ]+)", line) for line in lines}
    assert any("keys list" in words for words in told.values())
    assert not [line for line in lines if any(said.startswith("docs sync") for said in told[line])]
    planned = [line.lower() for line in lines if "plan " in told[line]]
    assert [line for line in planned if "on a machine" not in line] == []


def test_only_the_gateway_and_the_monitoring_reach_the_engines() -> None:
    callers = {name for name, pod in EVERYBODY.items() if reaches(pod, ROUTER, 8000)}
    assert callers == {"gateway", "monitoring"}
    callers = {name for name, pod in EVERYBODY.items() if reaches(pod, ENGINE, 8000)}
    assert callers == {"router", "monitoring"}


def test_nothing_reaches_what_a_cloud_tells_its_machines() -> None:
    blocks = [
        peer["ipBlock"]
        for one in policies()
        for rule in one["spec"].get("egress", [])
        for peer in rule["to"]
        if "ipBlock" in peer
    ]
    assert not [block for block in blocks if holds(block, "169.254.169.254")]
    # Nor anything else of that kind, but for a node's own cache of names.
    local = [block["cidr"] for block in blocks if not holds(block, "203.0.113.9")]
    assert local == ["169.254.20.10/32"]
    wide = [block for block in blocks if holds(block, "203.0.113.9")]
    assert [block["except"] for block in wide] == [["169.254.0.0/16"]]


def test_names_are_found_where_each_node_has_a_cache_of_them() -> None:
    """https://kubernetes.io/docs/tasks/administer-cluster/nodelocaldns/"""
    (names,) = of("NetworkPolicy", "names")
    (rule,) = names["spec"]["egress"]
    blocks = [peer["ipBlock"] for peer in rule["to"] if "ipBlock" in peer]
    assert any(holds(block, "169.254.20.10") for block in blocks)
    assert {port["port"] for port in rule["ports"]} == {53}
