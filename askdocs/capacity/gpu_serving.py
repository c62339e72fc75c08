"""Starts vLLM according to the plan, and compares its cache, adapters and speed with the plan.

The prompts consist of random words, so that only the model's shape matters.
Not yet run on a GPU; tested with vLLM's CPU build.
"""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from askdocs.capacity import models, plan, reported, speed
from askdocs.capacity.arrivals import percentile
from askdocs.capacity.assumptions import Assumptions
from askdocs.capacity.gpu_check import Budget, Checked
from askdocs.capacity.gpus import GPUS, seen
from askdocs.capacity.setup import GIB, Setup
from askdocs.capacity.shape import Shape
from askdocs.supervision.checks import free_port
from askdocs.supervision.supervisor import end_with_parent, how, last_words, signal_group
from askdocs.terminal.stopping import held
from core.errors import AskdocsError
from eval.report.cost import HOURS, read
from gateway.upstream.engines import adapters, vllm
from gateway.upstream.engines.launch import Launch
from training.plan import machine
from training.plan.machine import Machine

# Allowed relative difference of the reported cache from the plan.
DIFFERS = 0.03
# Target of the load test: p99 of whole answers, ms.
P99 = 1200.0
BASE, ADAPTER = "base", "check@v1"
# Minimum nats by which an adapter changes its base model's log-probabilities.
LEAST_EFFECT = 0.01
# Minimum cached share of a prompt that was just read.
CACHED = 0.9
# Questions to draw from, per question asked.
MANY = 5
KV_GIB = 1
REPORT = "report the message"


@dataclass(frozen=True)
class Load:
    """Parameters of the load test."""

    prompt: int
    """Words of a prompt, each a letter and about one token with any tokenizer."""
    answer: int
    """Tokens of an answer."""
    seconds: float
    """Seconds of each rate."""
    rates: Sequence[float]
    """Questions per second, the lowest first."""


class Planned(NamedTuple):
    """How vLLM is started, and the expected results."""

    launch: Launch
    cache: int
    """Tokens."""
    rate: float | None
    """Questions per second; 0: a single answer takes longer than P99; None: no plan for a CPU."""
    load: Load
    memory: int = 0
    """Bytes on the GPU; 0: no plan for a CPU."""


STARTS = "starts with the planned flags"
SECONDS, RATES = 20, (0.5, 1, 2, 3, 5, 8, 12, 20, 30, 50, 80)
# Maximum tokens that a chat template and the question's number add to a prompt.
TEMPLATE = 64
ON_CPU = Load(60, 4, 4, (0.25, 0.5, 1, 2, 4, 8))


def serving(
    python: Path,
    folder: Path,
    adapter: Path,
    work: Path,
    here: Machine,
    context: int,
    budget: Budget,
) -> Iterator[Checked]:
    """Start vLLM, and compare.

    Args:
        python: of vLLM's environment.
        folder: the model, as a Hugging Face folder.
        adapter: the model's adapter in PEFT's format.
        work: folder for the log and the questions.
        here: the machine.
        context: tokens of the longest request.
        budget: the remaining time.
    """
    shape = models.find(str(folder), online=False).shape
    context = min(context, shape.context)
    port = free_port()
    try:
        planned = _planned(python, folder, port, shape, here, context)
    except AskdocsError as error:
        yield Checked("vLLM", "skipped", "fits", str(error))
        return
    if not budget.left:
        yield budget.not_run("vLLM", STARTS)
        return
    began = time.monotonic()
    try:
        with _running(planned.launch, port, work / "vllm.log", budget) as url:
            took = time.monotonic() - began
            yield Checked("vLLM", "passed", STARTS, f"{took:.0f} s")
            if planned.memory:
                yield _memory(planned.memory, here, machine.look())
            yield _cache(url, planned.cache)
            yield from _prefix(url, context)
            yield _lora(url, adapter, bool(here.gpus))
            yield _load(url, planned.load, planned.rate, work, here, budget)
    except (AskdocsError, httpx.HTTPError) as error:
        yield Checked("vLLM", "failed", "starts and answers", str(error), "see the message")


def _planned(
    python: Path, folder: Path, port: int, shape: Shape, here: Machine, context: int
) -> Planned:
    """Raises AskdocsError: it does not fit."""
    if not here.gpus:
        launch = vllm.launch(
            python,
            str(folder),
            port=port,
            served_name=BASE,
            context=context,
            gpu=False,
            # Threads wait for each other: on a machine with other load, one thread less is faster.
            threads=max(1, here.cores - 1),
            kv_gib=KV_GIB,
            adapters=1,
        )
        return Planned(
            launch, KV_GIB * GIB // (shape.layers * shape.cached_numbers() * 2), None, ON_CPU
        )
    name = seen(here.gpus[0].name)
    if name is None:
        raise AskdocsError(f"{here.gpus[0].name} is not in the GPU list of askdocs plan: add it")
    setup = Setup(shape, GPUS[name], 1, None, context, 1, Assumptions())
    made = plan.make(setup, 1, None)
    argv, env = plan.command(made.setup, str(folder), port)
    assumed = made.setup.assumed
    alone = speed.reading(made.setup, assumed.prompt_tokens)
    alone += assumed.answer_tokens * speed.step(made.setup, 1, assumed.prompt_tokens)
    rate = made.load.questions * assumed.utilisation if alone * 1e3 < P99 else 0.0
    load = Load(assumed.prompt_tokens - TEMPLATE, assumed.answer_tokens, SECONDS, RATES)
    taken = made.memory.total + made.cache
    return Planned(Launch([str(python), *argv[1:]], env), made.kv_tokens, rate, load, taken)


@contextmanager
def _running(launch: Launch, port: int, log: Path, budget: Budget) -> Iterator[str]:
    """Yields the base URL, with /v1, once vLLM is ready. Raises AskdocsError: it does not start."""
    url = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        # Python ignores exceptions from signal handlers during a fork.
        with log.open("wb") as output, held():
            engine = subprocess.Popen(
                launch.argv,
                env={**os.environ, **launch.env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
            stack.callback(_end, engine)
        while not _is_ready(url):
            if engine.poll() is not None:
                raise AskdocsError(f"vLLM does not start: {last_words(log)}")
            if not budget.left:
                raise AskdocsError(f"vLLM is not ready within the time limit: {last_words(log)}")
            time.sleep(0.5)
        yield f"{url}/v1"


def _end(engine: "subprocess.Popen[bytes]") -> None:
    engine.terminate()
    with suppress(subprocess.TimeoutExpired):
        engine.wait(30)
    signal_group(engine.pid, signal.SIGKILL)
    engine.wait()


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def _memory(planned: int, before: Machine, after: Machine) -> Checked:
    """The GPU memory of vLLM, weights and cache together."""
    used = before.gpus[0].free - after.gpus[0].free
    within = used <= planned * (1 + DIFFERS)
    return Checked(
        "serving memory",
        "passed" if within else "failed",
        f"{planned / GIB:.1f} GiB",
        f"{used / GIB:.1f} GiB",
        "" if within else "lower --gpu-memory-utilization, and report both numbers",
    )


def _cache(url: str, planned: int) -> Checked:
    tokens = reported.read(url).tokens
    within = abs(tokens - planned) <= DIFFERS * planned
    return Checked(
        "KV cache",
        "passed" if within else "failed",
        f"{planned:,} tokens",
        f"{tokens:,} tokens ({tokens / planned - 1:+.1%})",
        "" if within else "report the GPU, the model and both numbers; plan with the measured one",
    )


def _prefix(url: str, context: int) -> Iterator[Checked]:
    """Send a prompt twice, and check vLLM's metrics for prefix cache hits of the second."""
    prompt = [300 + number % 200 for number in range(min(1024, context // 2))]
    seconds = []
    for _ in range(2):
        before, began = _hits(url), time.monotonic()
        body = {"model": BASE, "prompt": prompt, "max_tokens": 1, "temperature": 0}
        httpx.post(f"{url}/completions", json=body, timeout=300).raise_for_status()
        seconds.append(time.monotonic() - began)
    hits = _hits(url) - before
    works = hits >= CACHED * len(prompt)
    yield Checked(
        "prefix cache",
        "passed" if works else "failed",
        f"a repeated prompt of {len(prompt):,} tokens is cached",
        f"{hits:,.0f} tokens; {seconds[0]:.2f} s, then {seconds[1]:.2f} s",
        "" if works else "start vLLM with --enable-prefix-caching",
    )


def _hits(url: str) -> float:
    """Tokens found in the prefix cache so far."""
    text = httpx.get(f"{url.removesuffix('/v1')}/metrics", timeout=10).text
    lines = (line for line in text.splitlines() if line.startswith("vllm:prefix_cache_hits_total"))
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def _lora(url: str, adapter: Path, gpu: bool) -> Checked:
    """Load an adapter like `models serve`, check it, and verify that it changes answers."""

    async def measured() -> float:
        await adapters.load(url, None, ADAPTER, adapter, gpu=gpu)
        return await adapters.effect(url, None, ADAPTER, BASE)

    planned = f"changes answers by {LEAST_EFFECT:g} nats or more"
    try:
        effect = asyncio.run(measured())
    except AskdocsError as error:
        return Checked("adapter", "failed", planned, str(error), "see the message")
    changed = effect >= LEAST_EFFECT
    fix = "" if changed else "serve merged versions, and report it"
    return Checked("adapter", "passed" if changed else "failed", planned, f"{effect:.2f} nats", fix)


def _load(
    url: str, load: Load, planned: float | None, work: Path, here: Machine, budget: Budget
) -> Checked:
    """The highest rate at which the slowest of a hundred answers takes less than P99."""
    expected = "no plan" if planned is None else f"{planned:.1f} questions/s"
    prompts = f"prompts of {load.prompt} words, {load.answer} tokens each"
    what = f"{expected}; p99 under {P99:,.0f} ms; {prompts}"
    questions = work / "questions.json"
    chance = random.Random(0)  # noqa: S311
    best, why, is_cut = 0.0, "no question was asked", False
    for rate in load.rates:
        if budget.left < load.seconds:
            is_cut = True
            break
        # Many new questions for each rate, so that the prefix cache contains hardly any.
        count = ceil(MANY * rate * load.seconds)
        questions.write_text(json.dumps([_question(chance, load.prompt) for _ in range(count)]))
        try:
            loaded = _asked(url, rate, load, questions, budget)
        except subprocess.TimeoutExpired:
            is_cut = True
            break
        except AskdocsError as error:
            return Checked("load", "failed", what, f"at {rate:g} questions/s: {error}", REPORT)
        times = [seconds for _, state, _, seconds in loaded["answers"] if state != "failed"]
        count = len(loaded["answers"])
        if not count:
            continue  # none arrived in so short a time
        if len(times) < count:
            failed = f"{count - len(times)} of" if times else "all"
            why = f"{failed} {count} answers failed at {rate:g} questions/s ({loaded['error']})"
            break
        p99 = percentile(times, 0.99) * 1e3
        if p99 >= P99:
            why = f"{p99:,.0f} ms at {rate:g} questions/s"
            break
        best = rate
    if is_cut and not best:
        return budget.not_run("load", what)
    measured = f"{best:g} questions/s" if best else f"none: {why}"
    if is_cut:
        measured += ", or more: the time limit was reached"
    price = read().of_gpu(seen(here.gpus[0].name) or "") if here.gpus else None
    if best and price:
        measured += f"; ${price.usd * HOURS / best:,.0f} a month for each"
    reached = bool(best) or not planned  # the plan promises nothing
    return Checked(
        "load",
        "passed" if reached else "failed",
        what,
        measured,
        "" if reached else "use a faster GPU, smaller weights or fewer pages (page_budget)",
    )


def _asked(url: str, rate: float, load: Load, questions: Path, budget: Budget) -> dict[str, Any]:
    """The output of askdocs/capacity/arrivals.py.

    Raises:
        AskdocsError: it failed, with the reason.
        TimeoutExpired: it takes longer than the remaining time.
    """
    argv = [sys.executable, "-m", "askdocs.capacity.arrivals", "--url", url, "--model", BASE]
    argv += ["--rate", str(rate), "--seconds", str(load.seconds)]
    argv += ["--questions", str(questions), "--tokens", str(load.answer)]
    done = subprocess.run(
        argv, capture_output=True, text=True, errors="replace", timeout=budget.left
    )
    last = next(iter(done.stderr.strip().splitlines()[-1:]), "no message")
    if done.returncode:
        raise AskdocsError(f"the load test ended ({how(done.returncode)}): {last}")
    try:
        measured: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise AskdocsError(f"the load test printed no JSON: {last}") from None
    return measured


def _question(chance: random.Random, words: int) -> str:
    """Random letters, so that each question begins differently."""
    return " ".join(chance.choices("bdfgklmnprst", k=words))
