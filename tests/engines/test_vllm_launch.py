import os
from pathlib import Path

import pytest

from gateway.upstream.engines import vllm
from gateway.upstream.engines.launch import Launch

CORES = len(os.sched_getaffinity(0))


def make(
    tmp_path: Path,
    *,
    model: str = "owner/name",
    gpu: bool = False,
    threads: int = 2,
    adapters: int = 0,
    traces: str = "",
    template: Path | None = None,
) -> Launch:
    return vllm.launch(
        tmp_path / "env" / "bin" / "python",
        model,
        port=9399,
        served_name="base",
        context=4096,
        gpu=gpu,
        threads=threads,
        kv_gib=1.5,
        adapters=adapters,
        traces=traces,
        template=template,
    )


def test_a_template_replaces_the_model_s_own(tmp_path: Path) -> None:
    assert "--chat-template" not in make(tmp_path).argv
    assert option(make(tmp_path, template=tmp_path / "t.jinja"), "--chat-template") == str(
        tmp_path / "t.jinja"
    )


def option(launch: Launch, name: str) -> str:
    return launch.argv[launch.argv.index(name) + 1]


def test_it_starts_the_module_because_the_script_dies_on_the_cpu_build(tmp_path: Path) -> None:
    argv = make(tmp_path).argv
    python = str(tmp_path / "env" / "bin" / "python")
    assert argv[:3] == [python, "-m", "vllm.entrypoints.openai.api_server"]


@pytest.mark.parametrize("gpu", [False, True])
def test_it_listens_on_loopback_only_and_without_a_key(tmp_path: Path, gpu: bool) -> None:
    launch = make(tmp_path, gpu=gpu)
    assert option(launch, "--host") == "127.0.0.1"
    assert option(launch, "--port") == "9399"
    assert option(launch, "--served-model-name") == "base"
    assert option(launch, "--max-model-len") == "4096"
    assert "--enable-prefix-caching" in launch.argv
    assert "--api-key" not in launch.argv


@pytest.mark.parametrize("gpu", [False, True])
def test_no_usage_statistics_leave_the_machine(tmp_path: Path, gpu: bool) -> None:
    env = make(tmp_path, gpu=gpu).env
    assert (env["VLLM_NO_USAGE_STATS"], env["DO_NOT_TRACK"]) == ("1", "1")


def test_a_folder_is_served_offline_and_a_hub_id_is_not(tmp_path: Path) -> None:
    assert make(tmp_path, model=str(tmp_path)).env["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in make(tmp_path, model="owner/name").env


def test_a_cpu_needs_no_compiler_and_runs_the_model_in_the_schedulers_process(
    tmp_path: Path,
) -> None:
    launch = make(tmp_path)
    assert "--enforce-eager" in launch.argv
    assert launch.env["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"


@pytest.mark.parametrize(
    ("bfloat16", "dtype", "gib"), [(True, "auto", "2"), (False, "float32", "4")]
)
def test_a_processor_without_bfloat16_computes_in_float32_with_room_for_as_many_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bfloat16: bool, dtype: str, gib: str
) -> None:
    monkeypatch.setattr(vllm, "has_bfloat16", lambda: bfloat16)
    launch = make(tmp_path)
    assert option(launch, "--dtype") == dtype
    assert launch.env["VLLM_CPU_KVCACHE_SPACE"] == gib  # whole GiB, from 1.5
    assert "--dtype" not in make(tmp_path, gpu=True).argv


def test_a_gpu_gets_none_of_the_cpu_settings(tmp_path: Path) -> None:
    launch = make(tmp_path, gpu=True)
    assert option(launch, "--gpu-memory-utilization") == "0.90"
    assert launch.env["VLLM_USE_FLASHINFER_SAMPLER"] == "0"  # else it is compiled at warm-up
    assert "--enforce-eager" not in launch.argv
    assert "LD_PRELOAD" not in launch.env
    assert "VLLM_ENABLE_V1_MULTIPROCESSING" not in launch.env
    assert not [name for name in launch.env if name.startswith(("VLLM_CPU_", "OMP_", "KMP_"))]


@pytest.mark.parametrize("gpu", [False, True])
def test_one_place_for_adapters_stays_empty(tmp_path: Path, gpu: bool) -> None:
    launch = make(tmp_path, gpu=gpu, adapters=4)
    assert "--enable-lora" in launch.argv
    assert option(launch, "--max-loras") == "5"
    assert launch.env["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "1"


def test_an_engine_without_adapters_pays_nothing_for_them(tmp_path: Path) -> None:
    launch = make(tmp_path)
    assert not [word for word in launch.argv if "lora" in word]
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING" not in launch.env


@pytest.mark.parametrize(
    ("model", "parser"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "llama3_json"),
        ("/models/Meta_Llama-3.2-3B", "llama3_json"),
        ("mistralai/Ministral-8B-Instruct", "mistral"),
        ("Qwen/Qwen2.5-7B-Instruct", "hermes"),
    ],
)
def test_the_parser_of_tool_calls_follows_from_the_models_name(model: str, parser: str) -> None:
    assert vllm.tool_parser(model) == parser


def test_the_working_directory_shadows_no_library(tmp_path: Path) -> None:
    assert make(tmp_path).env["PYTHONSAFEPATH"] == "1"


@pytest.mark.parametrize(("asked", "used"), [(0, 1), (1, 1), (10_000, CORES)])
def test_threads_are_at_least_one_and_at_most_the_cores(
    tmp_path: Path, asked: int, used: int
) -> None:
    assert make(tmp_path, threads=asked).env["OMP_NUM_THREADS"] == str(used)


def test_only_libraries_that_exist_are_preloaded(tmp_path: Path) -> None:
    first, second = tmp_path / "a.so", tmp_path / "b.so"
    assert vllm.preloads(tmp_path, (first, second)) == []
    second.touch()
    (tmp_path / "lib").mkdir()
    omp = tmp_path / "lib" / "libiomp5.so"
    omp.touch()
    assert vllm.preloads(tmp_path, (first, second)) == [str(second), str(omp)]


def test_spans_go_where_they_are_wanted_and_by_http(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    off = make(tmp_path)
    assert "--otlp-traces-endpoint" not in off.argv
    assert not [name for name in off.env if name.startswith("OTEL")]
    on = make(tmp_path, traces="http://otel:4318/v1/traces")
    at = on.argv.index("--otlp-traces-endpoint")
    assert on.argv[at + 1] == "http://otel:4318/v1/traces"
    assert on.env["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] == "http/protobuf"
    assert on.env["OTEL_SERVICE_NAME"] == "askdocs-engine"
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    assert make(tmp_path, traces="http://otel:4318/v1/traces").env["OTEL_SERVICE_NAME"] == "mine"
