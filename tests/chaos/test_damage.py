"""Files that are damaged: the start names them, and the command that it names puts them back."""

import asyncio
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from askdocs.capacity import random_adapter
from gateway.answering.grounding import prompt
from tests.chaos.conftest import new_key
from tests.chaos.load import Kept, Ledger, Load, Target, compared, kept, lost
from tests.chaos.report import Report, rounds
from tests.end_to_end.running import Askdocs, refused, up
from tests.engines import gguf_variant
from tests.training.versions import FACTS
from tests.vllm_serving import convert, serving_folder
from training.versions.open import open_store

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(900)]

each_round = pytest.mark.parametrize("number", range(rounds()))
CLIENTS = {"streams": 2, "readers": 1, "votes": 1}  # as beside any engine on these cores
NAMED = re.compile(r"`askdocs restore FILE --only (\w+)`")


class Laptop:
    """`askdocs up` as a first user has it, to be stopped and started."""

    def __init__(self, home: Path, wiki: Path, *options: str) -> None:
        self.home = home
        self.running: Askdocs
        self.target: Target
        self._wiki = wiki
        self._options = options
        self._settings = {"up_prefill": "false", "widget_asks_per_minute": "10000"}
        self._key: tuple[str, str] | None = None
        self._stack = ExitStack()

    def start(self) -> None:
        running = up(self.home, self._wiki, *self._options, seconds=600, **self._settings)
        self.running = self._stack.enter_context(running)
        database = f"sqlite:///{self.home / 'askdocs.db'}"
        self._key = self._key or new_key(database)
        parts = self.running.started["parts"]
        self.target = Target(parts["gateway"]["url"], parts["widget"]["url"], *self._key, database)

    def refused(self) -> str:
        """The line with which a start ends."""
        said = refused(self.home, self._wiki, *self._options, **self._settings)
        (line,) = (line for line in said.splitlines() if line.startswith("askdocs: "))
        return line

    def stop(self) -> None:
        self._stack.close()

    async def asked(self) -> tuple[Kept, Ledger]:
        """Clients ask for a while: what was there before, and what was acknowledged and stored."""
        before = await asyncio.to_thread(kept, self.target)
        async with Load(self.target, **CLIENTS) as load:
            await load.settled(2)
        assert (await lost(self.target, before, load.ledger)).total == 0
        return before, load.ledger

    def said_by(self, model: str) -> str:
        """Its words, without pages."""
        message = {"role": "user", "content": "Where is the coffee machine?"}
        key = self.running.started["key"]
        reply = httpx.post(
            f"{self.target.gateway}/chat/completions",
            json={"model": model, "messages": [message], "max_tokens": 16, "temperature": 0},
            headers={"authorization": f"Bearer {key}", "x-askdocs-grounding": "off"},
            timeout=60,
        )
        return str(reply.raise_for_status().json()["choices"][0]["message"]["content"])


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory, wiki: Path) -> Iterator[Laptop]:
    laptop = Laptop(tmp_path_factory.mktemp("laptop") / "home", wiki)
    laptop.start()
    try:
        yield laptop
    finally:
        laptop.stop()


async def damaged(
    days: Report,
    name: str,
    laptop: Laptop,
    file: Path,
    part: str,
    harm: Callable[[Path], None],
) -> None:
    """A day on which that file is found damaged at the start."""
    before, first = await laptop.asked()
    backup = laptop.home.with_name(f"{time.time_ns()}.tar.gz")
    done = laptop.running.cli("backup", "--weights", "--out", str(backup))
    assert done.returncode == 0, done.stderr
    between, since = await laptop.asked()
    laptop.stop()

    harm(file)
    began = time.monotonic()
    line = await asyncio.to_thread(laptop.refused)
    named = NAMED.search(line)
    assert str(file) in line
    assert named is not None, line
    assert named[1] == part
    done = laptop.running.cli("restore", str(backup), "--only", named[1], "--yes")
    assert done.returncode == 0, done.stderr
    await asyncio.to_thread(laptop.start)
    now, again = await laptop.asked()

    ledgers = [first, since, again]
    day = days.of(name)
    day.requests += sum(len(one.attempts) for one in ledgers)
    day.failed += sum(one.failures().total() for one in ledgers)
    day.acknowledged += first.acknowledged
    missing = compared(before, first, now).total
    day.lost += missing
    day.recovery.append(round(again.first_of_each() - began, 2))
    after = days.of(f"{name}, since the backup")
    after.acknowledged += since.acknowledged
    gone = compared(between, since, now).total
    after.lost += gone
    days.save()
    assert missing == 0
    assert gone == (since.acknowledged if part == "database" else 0)


def cut_off(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2 // 4096 * 4096)


@each_round
async def test_a_database_that_is_cut_off_comes_back_as_it_was_backed_up(
    laptop: Laptop, days: Report, number: int
) -> None:
    file = laptop.home / "askdocs.db"
    await damaged(days, "database cut off", laptop, file, "database", cut_off)


@each_round
async def test_a_search_index_that_is_cut_off_comes_back_and_nothing_else_changes(
    laptop: Laptop, days: Report, number: int
) -> None:
    file = laptop.home / "index.db"
    await damaged(days, "search index cut off", laptop, file, "index", cut_off)


@pytest.fixture(scope="module")
def promoted(
    vllm_python: Path, small_gguf: Path, wiki: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Laptop, str]]:
    """Beside a vLLM that answers for `docs` with an adapter; and the address of that."""
    folder = tmp_path_factory.mktemp("promoted")
    # Two layers: with all of them, a vLLM on a CPU takes seconds for each answer of an adapter.
    shallow = gguf_variant.make(small_gguf, folder / "shallow.gguf", layers=2)
    base = convert(vllm_python, shallow, folder / "base")
    random_adapter.write(folder / "run" / "adapter", base, seed=1, size=0.2)
    facts = FACTS.model_copy(update={"prompt_fingerprint": prompt.fingerprint()})
    open_store(None, folder / "home").add("docs", folder / "run", facts)
    # On a CPU an adapter takes another place each time that it is loaded.
    with serving_folder(vllm_python, base, folder / "log", adapters=rounds() + 1) as engine:
        laptop = Laptop(folder / "home", wiki, "--engine-url", f"{engine}/v1")
        try:
            laptop.start()
            forced = ("--force", "--why", "a test")
            done = laptop.running.cli("models", "promote", "docs@v1", *forced)
            assert done.returncode == 0, done.stderr
            base_said = laptop.said_by("base")
            while laptop.said_by("docs") == base_said:  # until the gateway has heard of it
                time.sleep(1)
            yield laptop, engine
        finally:
            laptop.stop()


@each_round
@pytest.mark.timeout(1800)
async def test_an_adapter_with_a_wrong_bit_comes_back_and_answers_as_before(
    promoted: tuple[Laptop, str], days: Report, number: int
) -> None:
    laptop, engine = promoted
    said = laptop.said_by("docs")

    def flip_a_bit(file: Path) -> None:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
        # The engine has read it already, and is to read it again.
        forgotten = {"lora_name": "docs@v1"}
        httpx.post(f"{engine}/v1/unload_lora_adapter", json=forgotten).raise_for_status()

    file = laptop.home / "versions" / "docs@v1" / "adapter" / "adapter_model.safetensors"
    await damaged(days, "one bit of an adapter flipped", laptop, file, "versions", flip_a_bit)
    assert laptop.said_by("docs") == said
