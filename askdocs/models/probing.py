"""Starts an engine with a derived artefact and probes it."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from askdocs import environments
from askdocs.supervision.checks import free_port
from askdocs.supervision.engine import default_threads
from askdocs.supervision.supervisor import Running, Service
from gateway.upstream.engine import Engine
from gateway.upstream.engines import llamacpp, vllm
from gateway.upstream.engines.launch import Launch
from training.artefacts import probe
from wiki.sources.sync import Progress

NAME = "probed"
GGUF = "model.gguf"
# Seconds until an engine is ready; an 8B model loads faster, even from a slow disk.
START = 900.0


def probed(
    folder: Path, bits: int, probes: probe.Probes, vllm_python: Path | None, progress: Progress
) -> probe.ProbeResult:
    """Serve an artefact with an engine and probe it.

    Args:
        folder: contains model.gguf for llama.cpp, or is a Hugging Face folder for vLLM.
        bits: bits of the weights, which select the limits.
        probes: the version's probes.
        vllm_python: Python of vLLM's environment, for a folder without model.gguf.
        progress: see `Progress`.

    Raises:
        AskdocsError: the engine could not be started, or does not answer.
    """
    port, threads = free_port(), default_threads()
    longest = max(len(sample.prompt) + len(sample.answer) for sample in probes.probes)
    context = (longest // 256 + 1) * 256
    if vllm_python is None:
        launch = llamacpp.launch(
            folder / GGUF, port=port, served_name=NAME, context=context, threads=threads, parallel=1
        )
    else:
        launch = vllm.launch(
            vllm_python,
            str(folder),
            port=port,
            served_name=NAME,
            context=context,
            gpu=environments.has_gpu(),
            threads=threads,
            kv_gib=1,
        )
    url = f"http://127.0.0.1:{port}"

    def ask() -> probe.ProbeResult:
        return probe.ask(f"{url}/v1", NAME, probes, probe.LIMITS[bits], progress)

    progress("starting the engine", 0, 1)
    return asyncio.run(_while_running(launch, f"{url}/v1", ask))


async def _while_running(
    launch: Launch, url: str, ask: Callable[[], probe.ProbeResult]
) -> probe.ProbeResult:
    engine = Engine(url)
    with TemporaryDirectory(prefix="askdocs-") as logs:
        log = Path(logs) / "engine.log"
        service = Service("engine", launch.argv, log, engine.is_ready, START, launch.env)
        running = Running(service, lambda *_: None, lambda: None)
        try:
            await running.start()
            return await asyncio.to_thread(ask)
        finally:
            await running.stop()
            await engine.close()
