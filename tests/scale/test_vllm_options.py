"""The options that docs, Compose and Helm give vLLM, by vLLM's own parser."""

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.scale.routed import COMPOSE, ROOT

pytestmark = pytest.mark.slow

HELM = ROOT / "deploy" / "helm"

CODE = """
import json, sys
from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.utils.argparse_utils import FlexibleArgumentParser
for options in json.loads(sys.argv[1]):
    parser = make_arg_parser(FlexibleArgumentParser())
    try:
        known = parser.parse_args(options)
        validate_parsed_serve_args(known)
    except SystemExit as refused:
        print("said", refused.code)
    else:
        print("said", known.tensor_parallel_size, known.distributed_executor_backend)
"""


def by_the_chart(file: str) -> list[str]:
    """As templates/deployment-vllm-multi.yaml and ray-cluster.yaml of the chart write them."""
    values = yaml.safe_load((HELM / file).read_text(encoding="utf-8"))
    (model,) = values["servingEngineSpec"]["modelSpec"]
    config: dict[str, Any] = model["vllmConfig"]
    words = ["--model", model["modelURL"]]
    words += ["--enable-auto-tool-choice"] if model["enableTool"] else []
    words += ["--tool-call-parser", model["toolCallParser"]]
    words += ["--distributed-executor-backend", "ray"] if "raySpec" in model else []
    flags = {"enablePrefixCaching": "prefix-caching", "enableChunkedPrefill": "chunked-prefill"}
    words += [f"--enable-{flag}" for key, flag in flags.items() if config[key]]
    for key, option in (
        ("maxModelLen", "--max-model-len"),
        ("tensorParallelSize", "--tensor-parallel-size"),
        ("pipelineParallelSize", "--pipeline-parallel-size"),
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


def test_vllms_own_parser_knows_every_option(vllm_python: Path) -> None:
    asked = [
        by_the_docs(),
        by_compose(),
        by_the_chart("vllm-production-stack-values.yaml"),
        by_the_chart("vllm-production-stack-ray-values.yaml"),
        [*by_compose(), "--no-such-option"],
    ]
    text = subprocess.check_output([vllm_python, "-c", CODE, json.dumps(asked)], text=True)
    said = [line[5:] for line in text.splitlines() if line.startswith("said ")]
    assert said == ["2 ray", "1 None", "1 None", "4 ray", "2"]
