"""The options that docs, Compose and Helm give vLLM, by vLLM's own parser."""

import re
import shlex
from typing import Any

import pytest
import yaml

from tests.libraries import Libraries
from tests.scale.routed import COMPOSE, ROOT
from tests.vllm_serving import PARSES

pytestmark = pytest.mark.slow

HELM = ROOT / "deploy" / "helm"


def by_the_chart(file: str) -> list[str]:
    """As templates/deployment-vllm-multi.yaml of the chart writes them."""
    values = yaml.safe_load((HELM / file).read_text(encoding="utf-8"))
    (model,) = values["servingEngineSpec"]["modelSpec"]
    config: dict[str, Any] = model["vllmConfig"]
    words = ["--model", model["modelURL"]]
    words += ["--enable-auto-tool-choice"] if model["enableTool"] else []
    words += ["--tool-call-parser", model["toolCallParser"]]
    flags = {"enablePrefixCaching": "prefix-caching", "enableChunkedPrefill": "chunked-prefill"}
    words += [f"--enable-{flag}" for key, flag in flags.items() if config[key]]
    for key, option in (
        ("maxModelLen", "--max-model-len"),
        ("tensorParallelSize", "--tensor-parallel-size"),
        ("gpuMemoryUtilization", "--gpu_memory_utilization"),
        ("maxLoras", "--max_loras"),
    ):
        words += [option, str(config[key])] if key in config else []
    return [*words, *config["extraArgs"]]


def by_compose() -> list[str]:
    """With traces."""
    command = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]["vllm-a"]["command"]
    command = command.replace("${OTEL_ENDPOINT}", "http://collector:4318")
    return shlex.split(re.sub(r"\$\{\w+:[-+]([^}]*)\}", r"\1", command))


def by_the_docs() -> list[str]:
    said = (ROOT / "docs" / "how-to/scale.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^vllm serve (.*)$", said, re.M)
    model, *options = shlex.split(line)
    return ["--model", model, *options]


def test_vllms_own_parser_knows_every_option(vllm_libraries: Libraries) -> None:
    commands = [
        by_the_docs(),
        by_compose(),
        by_the_chart("vllm-production-stack-values.yaml"),
        [*by_compose(), "--no-such-option"],
    ]
    names = ["tensor_parallel_size"]
    said = vllm_libraries.said(PARSES, commands=commands, names=names)
    assert said == [[2], [1], [1], 2]
