"""The embedded engine: llama.cpp's own HTTP server, from the `xllamacpp` wheel.

`python -m gateway.upstream.engines.llamacpp --model FILE.gguf --port N` runs it in the foreground.
It speaks OpenAI's API under /v1 and its own /tokenize, /props, /health and /metrics.
"""

import argparse
import hashlib
import importlib.metadata
import re
import shutil
import signal
import sys
from pathlib import Path

from gateway.upstream.engines.launch import Launch

# Prompt states (the KV cache of prefilled pages) to keep in main memory. One token takes 23 KB with
# a 135M model, 128 KB with an 8B model.
CACHE_MIB = 2048
_STATES = re.compile(r"[0-9a-f]{16}$")


def launch(
    model: Path,
    *,
    port: int,
    served_name: str,
    context: int,
    threads: int,
    parallel: int,
    embeddings: bool = False,
    states: Path | None = None,
) -> Launch:
    """The command that serves `model`.

    Args:
        model: a GGUF file.
        port: TCP port on the loopback address.
        served_name: the model's name in /v1/models.
        context: tokens of context per request.
        threads: compute threads.
        parallel: concurrent requests, each with `context` tokens.
        embeddings: serve /v1/embeddings, and only that.
        states: a folder for KV cache snapshots, see `states_folder`.
    """
    argv = [sys.executable, "-m", "gateway.upstream.engines.llamacpp"]
    argv += ["--model", str(model), "--port", str(port), "--served-name", served_name]
    argv += ["--context", str(context), "--threads", str(threads), "--parallel", str(parallel)]
    argv += ["--embeddings"] if embeddings else []
    argv += ["--states", str(states)] if states else []
    # Spinning threads would halve the throughput of a machine with two busy cores.
    return Launch(argv, {"OMP_WAIT_POLICY": "passive"})


def states_folder(root: Path, model: Path) -> Path:
    """The folder under `root` for this engine's KV cache snapshots of `model`; created if missing.

    A snapshot is valid only for the same model in the same engine, and neither checks that. Other
    models' folders are removed.

    Raises OSError.
    """
    size = model.stat().st_size
    sha = hashlib.sha256(f"{importlib.metadata.version('xllamacpp')} {size}".encode())
    with model.open("rb") as file:
        # Hash the names and shapes of all tensors, and the last values: hashing the gigabytes in
        # between would delay the start.
        sha.update(file.read(2**20))
        file.seek(max(0, size - 2**20))
        sha.update(file.read())
    name = sha.hexdigest()[:16]
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for other in root.iterdir():
        if other.name != name and _STATES.match(other.name):
            shutil.rmtree(other)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="GGUF file")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--served-name", default="base")
    parser.add_argument("--context", type=int, default=8192, help="tokens per request")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--parallel", type=int, default=2)
    parser.add_argument("--embeddings", action="store_true", help="/v1/embeddings, only that")
    parser.add_argument("--states", type=Path, help="folder for what was read, to read it back")
    options = parser.parse_args()

    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(options.model)
    params.model_alias = {options.served_name}
    params.hostnames = [options.host]
    params.port = options.port
    params.n_parallel = options.parallel
    params.n_ctx = options.context * options.parallel
    params.cpuparams.n_threads = options.threads
    params.cpuparams_batch.n_threads = options.threads
    params.cache_ram_mib = CACHE_MIB
    if options.states:
        params.slot_save_path = f"{options.states}/"
    # It notices a disconnected client between batches: 512 tokens take about a second on two cores.
    params.n_batch = 512
    if options.embeddings:
        params.embedding = True
        params.n_ubatch = params.n_batch = options.context  # a text is processed in one batch
        if params.pooling_type == xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_UNSPECIFIED:
            params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.endpoint_metrics = True
    params.ui = False
    # By default, llama.cpp lets any web page in a browser on this machine read its answers.
    params.cors_origins, params.cors_credentials = "", False
    # Signals are waited for rather than handled: a handler that sets an Event could wait forever
    # for a lock held by the interrupted code. Block them before there are threads, which inherit
    # the mask.
    stops = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    server = xllamacpp.Server(params)
    print(f"serving {options.served_name} at {server.listening_address}", flush=True)
    signal.sigwait(stops)


if __name__ == "__main__":
    main()
