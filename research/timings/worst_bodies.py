"""What the worst body costs other requests: each within the size limit, small questions beside it.

    .venv/bin/python research/timings/worst_bodies.py [--seconds 2] [--only NAME] [--json]

A real gateway with a wiki of one page, before the fake engine of the benchmark. While one client
sends a body again and again, another asks something small every five milliseconds. Printed for each
body: the status, the p99 of the small requests, and the CPU of the event loop's thread for one
body. The second says on a busy machine, too, how long all other requests are held up at most; it
includes what is spent in parts, between which others have their turn. Exit code 1 where both are
over 100 ms.
"""

import argparse
import http.client
import json
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from gateway.upstream.local.models import EMBEDDINGS, RERANK
from research.bench import systems
from tests import starting

LIMIT_MS = 100.0
MIB = 2**20
MOST = 8 * MIB - 4096  # of [gateway] max_body, with room for the rest of a body
PAUSE_S = 0.005
USER = "user"


class Worst(NamedTuple):
    """A body, made when it is its turn."""

    path: str
    name: str
    make: Callable[[], bytes]


class Seen(NamedTuple):
    path: str
    name: str
    mib: float
    status: int
    p99_ms: float
    cpu_ms: float
    """Of the event loop's thread, for one body."""


def _filled(unit: str, size: int = MOST) -> str:
    return unit * (size // (len(json.dumps(unit, ensure_ascii=False).encode()) - 2))


def _chat(model: str = "base", content: Any = "hello", **more: Any) -> bytes:
    return _json({"model": model, "messages": [{"role": USER, "content": content}], **more})


def _json(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _raw(before: str, filling: str, after: str) -> bytes:
    return (before + filling + after).encode()


def _message(count: int) -> list[dict[str, str]]:
    return [{"role": USER, "content": "a"}] * count


def _schema(objects: int) -> dict[str, Any]:
    return {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(objects)}}


def _tools(objects: int) -> list[dict[str, Any]]:
    function = {"name": "f", "parameters": _schema(objects)}
    return [{"type": "function", "function": function}]


def _chats() -> dict[str, Callable[[], bytes]]:
    head = '{"model":"base","messages":[{"role":"user","content":"a"}],'
    return {
        "nested lists": lambda: _raw(head + '"metadata":', "[" * MOST, "}"),
        "small lists": lambda: _raw(head + '"x":[', "[]," * (MOST // 3), "[]]}"),
        "nested below the limit": lambda: _raw(head + '"x":', "[" * 49_000 + "]" * 49_000, "}"),
        "numbers": lambda: _raw(head + '"x":[', "1," * 999_000, "1]}"),
        "long numbers": lambda: _raw(head + '"x":[', "1." + "7" * (MOST // 2), "1]}"),
        "270,000 messages": lambda: _json({"model": "base", "messages": _message(270_000)}),
        "4,096 messages": lambda: _json({"model": "base", "messages": _message(4096)}),
        "4,096 parts": lambda: _chat(content=[{"type": "text", "text": "a" * 1900}] * 4096),
        "690,000 biases": lambda: _chat(logit_bias={str(n): 1 for n in range(690_000)}),
        "tools with 20,000 properties": lambda: _chat(tools=_tools(20_000)),
        "a schema with 20,000 properties": lambda: _chat(
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "a", "schema": _schema(20_000)},
            }
        ),
        "16 stops of 500 kB": lambda: _chat(stop=["a" * 500_000] * 16),
        "n: 128": lambda: _chat(n=128),
        "half surrogate pairs": lambda: _raw(
            '{"model":"base","messages":[{"role":"user","content":"',
            ("a" * 835 + "\\ud800") * 9_900,
            '"}]}',
        ),
        "names of 99,000 fields": lambda: _raw(
            head, ",".join(f'"f{n}":1' for n in range(99_000)), "}"
        ),
        "other letters": lambda: _chat(content=_filled("é")),
    }


_MARKS = (
    "<",
    "< ",
    " ",
    "<|",
    "a ",
    "?",
    "[",
    "](",
    "# a\n",
    "`",
    "a.",
    "é ",
    "界",
    "is called a ",
)


def _filled_chat(mark: str) -> bytes:
    return _chat("docs", _filled(mark))


def _grounded() -> dict[str, Callable[[], bytes]]:
    found: dict[str, Callable[[], bytes]] = {
        f"docs, a question of {mark!r}": partial(_filled_chat, mark) for mark in _MARKS
    }
    found["docs, '<' and 100,000 spaces"] = lambda: _chat("docs", "<" + 100_000 * " ")
    found["docs, 4,096 turns of 1,900 letters"] = lambda: _json(
        {
            "model": "docs",
            "messages": [
                {"role": role, "content": "what is coffee? " * 118}
                for _ in range(2047)
                for role in (USER, "assistant")
            ]
            + [{"role": USER, "content": "where is the machine?"}],
        }
    )
    return found


def _provided() -> dict[str, Callable[[], bytes]]:
    """Bodies that LiteLLM takes to a provider."""
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    turn = [
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c", "content": "a"},
    ]
    asked = [*_message(1), *turn * 1300]
    picture = f"data:image/png;base64,{'a' * 4 * (MOST // 4 - 100)}"
    return {
        "provider, a long text": lambda: _chat("provider", _filled("a ")),
        "provider, 4,096 messages": lambda: _json(
            {"model": "provider", "messages": _message(4096)}
        ),
        "provider, 1,300 calls": lambda: _json({"model": "provider", "messages": asked}),
        "provider, a picture": lambda: _chat(
            "provider", [{"type": "image_url", "image_url": {"url": picture}}]
        ),
    }


def _call(arguments: dict[str, Any]) -> dict[str, Any]:
    params = {"name": "search_docs", "arguments": arguments}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


def _others() -> dict[tuple[str, str], dict[str, Any]]:
    words, marks, many = _filled("coffee "), _filled("< "), _message(4096)
    said = [{"role": USER, "content": marks}]
    base, docs = {"model": "base"}, {"model": "docs"}
    small = {"model": EMBEDDINGS}
    ranks = {"model": RERANK}
    claude = {**docs, "max_tokens": 5}
    tools = [{"name": "f", "input_schema": _schema(20_000)}]
    return {
        ("/completions", "512 prompts"): {**base, "prompt": ["a" * 16_000] * 512},
        ("/completions", "512 prompts of tokens"): {**base, "prompt": [[1] * 1900] * 512},
        ("/completions", "a long suffix"): {**base, "prompt": "a", "suffix": words},
        ("/embeddings", "2,048 texts"): {**small, "input": ["a" * 4000] * 2048},
        ("/embeddings", "one text"): {**small, "input": words},
        ("/embeddings", "spaces"): {**small, "input": _filled(" ")},
        ("/rerank", "1,000 documents"): {
            **ranks,
            "query": "coffee",
            "documents": ["coffee " * 1100] * 1000,
        },
        ("/rerank", "a long query"): {**ranks, "query": words, "documents": ["a"]},
        ("/responses", "a long input"): {**docs, "input": marks},
        ("/responses", "270,000 items"): {**docs, "input": _message(270_000)},
        ("/responses", "4,096 items"): {**docs, "input": many},
        ("/messages", "a long text"): {**claude, "messages": said},
        ("/messages", "4,096 messages"): {**claude, "messages": many},
        ("/messages", "20,000 properties"): {**claude, "messages": _message(1), "tools": tools},
        ("/askdocs/votes", "a long name"): {"alias": words, "model": "base", "vote": "up"},
        ("/mcp", "a long question"): _call({"query": marks}),
        ("/mcp", "190,000 arguments"): _call({f"a{n}": 1 for n in range(190_000)}),
    }


def bodies() -> list[Worst]:
    chat = "/chat/completions"
    made = {**_chats(), **_grounded(), **_provided()}
    return [
        *(Worst(chat, name, make) for name, make in made.items()),
        *(Worst(*name, partial(_json, body)) for name, body in _others().items()),
    ]


class Place(NamedTuple):
    """The gateway under test."""

    port: int
    key: str
    process: psutil.Process


def _ask(place: Place, path: str, body: bytes, timeout: float = 120) -> int:
    client = http.client.HTTPConnection("127.0.0.1", place.port, timeout=timeout)
    headers = {"authorization": f"Bearer {place.key}", "content-type": "application/json"}
    headers["accept"] = "application/json, text/event-stream"
    try:
        client.request("POST", path, body, headers)
        reply = client.getresponse()
        reply.read()
        return reply.status
    finally:
        client.close()


def _loop_cpu(place: Place) -> float:
    """Seconds of the thread that runs the event loop, which is the first one."""
    times = {thread.id: thread for thread in place.process.threads()}
    first = times[place.process.pid]
    return float(first.user_time + first.system_time)


SMALL = _json({"model": "base", "messages": [{"role": USER, "content": "hello"}]})


class _Beside(threading.Thread):
    """Asks something small, again and again."""

    def __init__(self, place: Place) -> None:
        super().__init__(daemon=True)
        self._place = place
        self._over = threading.Event()
        self.took: list[float] = []

    def run(self) -> None:
        while not self._over.wait(PAUSE_S):
            began = time.perf_counter()
            _ask(self._place, "/v1/chat/completions", SMALL)
            self.took.append(time.perf_counter() - began)

    def end(self) -> float:
        """The p99, in milliseconds."""
        self._over.set()
        self.join()
        took = sorted(self.took)
        return took[min(len(took) - 1, int(len(took) * 0.99))] * 1000


def _alone(place: Place, seconds: float) -> tuple[float, float]:
    """The p99 of small requests alone, and the loop's CPU for a second of them."""
    beside, before = _Beside(place), _loop_cpu(place)
    beside.start()
    time.sleep(seconds)
    p99 = beside.end()
    return p99, (_loop_cpu(place) - before) / max(len(beside.took), 1)


def measure(place: Place, worst: Worst, seconds: float, small_cpu: float) -> Seen:
    body = worst.make()
    assert len(body) <= 8 * MIB, (worst, len(body))
    path = worst.path if worst.path.startswith(("/askdocs", "/mcp")) else f"/v1{worst.path}"
    before = _loop_cpu(place)
    beside = _Beside(place)
    beside.start()
    began, count, status = time.monotonic(), 0, 0
    while not count or time.monotonic() - began < seconds:
        try:
            status = _ask(place, path, body)
        except OSError:  # refused before all of it was read
            status = 0
        count += 1
    p99 = beside.end()
    cpu = _loop_cpu(place) - before - small_cpu * len(beside.took)
    name = f"{worst.path} {worst.name}"
    return Seen(worst.path, name, len(body) / MIB, status, p99, max(0.0, cpu) / count * 1000)


def _started(folder: Path, upstream: str) -> tuple[Place, subprocess.Popen[bytes]]:
    starting.link_litellm(folder)
    (folder / "wiki").mkdir()
    (folder / "wiki" / "coffee.md").write_text("# Coffee\n\nThe coffee machine is on floor 3.\n")
    key = f"ask-{'a' * 10}-{secrets.token_urlsafe(32)[:43]}"
    port = systems.free_port()
    variables = {
        "ASKDOCS_HOME": str(folder),
        "ASKDOCS_DATABASE_URL": f"sqlite:///{folder}/askdocs.db",
        "ASKDOCS_GATEWAY_KEY": key,
        "ASKDOCS_GATEWAY_PORT": str(port),
        "ASKDOCS_GATEWAY_ENGINE_URL": upstream,
        "ASKDOCS_GATEWAY_INDEX": str(folder / "index.db"),
        "ASKDOCS_GATEWAY_MODELS": json.dumps(
            {"provider": {"litellm": "openai/base", "api_base": upstream, "key_env": "BENCH_KEY"}}
        ),
        "BENCH_KEY": "provider",
    }
    environment = systems._environment(variables)
    command = [str(Path(sys.executable).with_name("askdocs")), "docs", "sync", "wiki"]
    command += ["--site-url", "http://127.0.0.1:1/", "--home", str(folder)]
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    log = folder / "log"
    process = systems._spawn([sys.executable, "-m", "gateway"], log, environment, folder)
    try:
        systems._wait(f"http://127.0.0.1:{port}/v1/models", "gateway", process, log, key)
    except BaseException:
        systems._stop(process)
        raise
    return Place(port, key, psutil.Process(process.pid)), process


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="for each body")
    parser.add_argument("--only", default="", help="bodies whose path or name has this")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    chosen = [one for one in bodies() if options.only in f"{one.path} {one.name}"]
    seen = []
    with (
        tempfile.TemporaryDirectory(prefix="askdocs-bench-") as name,
        systems.engine() as upstream,
    ):
        place, process = _started(Path(name), upstream)
        try:
            # What is loaded at the first such request is not the cost of a body.
            for path, more in (
                ("/v1/messages", {"max_tokens": 5}),
                ("/v1/responses", {}),
                ("/v1/chat/completions", {"model": "provider"}),
            ):
                field = "input" if path == "/v1/responses" else "messages"
                _ask(place, path, _json({"model": "docs", field: _message(1), **more}))
            p99, small_cpu = _alone(place, options.seconds)
            print(f"small requests alone: p99 {p99:.0f} ms, {small_cpu * 1000:.2f} ms of CPU")
            print("| body | MiB | status | p99 of others, ms | CPU of the loop, ms |")
            print("|---|---|---|---|---|")
            for worst in chosen:
                one = measure(place, worst, options.seconds, small_cpu)
                seen.append(one)
                print(
                    f"| {one.name} | {one.mib:.1f} | {one.status} | {one.p99_ms:.0f}"
                    f" | {one.cpu_ms:.0f} |",
                    flush=True,
                )
        finally:
            systems._stop(process)
    if options.json:
        print(json.dumps([one._asdict() for one in seen], indent=2))
    over = [one.name for one in seen if min(one.cpu_ms, one.p99_ms) > LIMIT_MS]
    if over:
        print(f"over {LIMIT_MS:.0f} ms: {', '.join(over)}", file=sys.stderr)
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
