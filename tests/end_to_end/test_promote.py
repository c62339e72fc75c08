"""Versions of a model, served by the real engine: promoted under load, rolled back, as a canary.

Three models that say only words of their own, so that an answer shows which version gave it.
"""

import json
import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import openai
import pytest

from askdocs import environments
from eval.running import answer, run
from gateway.answering.grounding import prompt
from tests import starting
from tests.docs.tutorial import terminal
from tests.end_to_end.running import COMMAND, REPO, Askdocs, up
from tests.engines import gguf_words
from tests.parts import require
from tests.training.versions import FACTS, trained, verdict
from tests.waiting import until as eventually
from training.versions.manifest import sha256
from training.versions.open import open_store

# Three engines and a gateway share two cores with whatever else runs.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

WORDS = {
    "docs@v1": {"red", "green"},
    "docs@v2": {"blue", "white"},
    "docs@v3": {"one", "two"},
}
FORCED = ("--force", "--why", "a test")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, shallow: Path) -> Path:
    """A state folder with three versions: a GGUF file each, and no verdict of the gate."""
    root = tmp_path_factory.mktemp("promote")
    store = open_store(None, root / "home")
    facts = FACTS.model_copy(update={"prompt_fingerprint": prompt.fingerprint()})
    ggufs = {root / f"gguf-{name}" / "model.gguf": words for name, words in WORDS.items()}
    for path in ggufs:
        path.parent.mkdir()
    gguf_words.make(
        shallow,
        {path: (f"Ġ{min(words)}", f"Ġ{max(words)}") for path, words in ggufs.items()},
    )
    for name, path in zip(WORDS, ggufs, strict=True):
        assert store.add("docs", trained(root / name, content=name), facts) == name
        store.add_artefact(name, "gguf-q4_1", path.parent, {})
    return root / "home"


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wiki") / "docs"
    folder.mkdir()
    (folder / "index.md").write_text("# Coffee\n\nThe coffee machine stands on floor 3.\n")
    return folder


@pytest.fixture(scope="module")
def askdocs(home: Path, docs: Path) -> Iterator[Askdocs]:
    with up(home, docs, seconds=400) as running:
        yield running


def models(askdocs: Askdocs, *arguments: str) -> dict[str, object]:
    done = askdocs.cli("models", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def said_by(words: str) -> str:
    """The version that said them: each of them, or the test fails."""
    by = {name for name, own in WORDS.items() if own & set(words.split())} or {"base"}
    assert len(by) == 1, words
    (name,) = by
    assert name == "base" or set(words.split()) <= WORDS[name], words
    return name


@dataclass
class Client:
    """Asks the alias, which the wiki is left out of so that the model's own words come."""

    status: dict[str, object] = field(repr=False)

    def __post_init__(self) -> None:
        self.url = self.status["parts"]["gateway"]["url"]  # type: ignore[index]
        self._openai = openai.OpenAI(
            base_url=self.url, api_key=str(self.status["key"]), max_retries=0
        )

    def stream(self, user: str, model: str = "docs", tokens: int = 24) -> str:
        """The version that answered, by its words and by the header."""
        reply = self._openai.chat.completions.with_raw_response.create(
            model=model,
            messages=[{"role": "user", "content": "Say something."}],
            max_tokens=tokens,
            stream=True,
            user=user,
            extra_headers={"x-askdocs-grounding": "off"},
        )
        chunks = list(reply.parse())
        words = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        assert chunks[-1].choices[0].finish_reason
        by = said_by(words)
        assert reply.headers["x-askdocs-model"] == by
        assert {chunk.model for chunk in chunks} == {model}
        return by


@contextmanager
def load(client: Client, streams: int = 8) -> Iterator[list[str]]:
    """So many clients that ask without a pause; a failure of any of them fails the test."""
    answers: list[str] = []
    failures: list[BaseException] = []
    over = threading.Event()

    def run(number: int) -> None:
        while not over.is_set():
            try:
                answers.append(client.stream(f"user-{number}"))
            except BaseException as error:
                failures.append(error)
                return

    threads = [threading.Thread(target=run, args=(number,)) for number in range(streams)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        over.set()
        for thread in threads:
            thread.join(60)
    assert failures == []


def until(answers: list[str], version: str, more: int, seconds: float = 180) -> None:
    """Wait until that many more answers came, all of them from `version`."""
    deadline = time.monotonic() + seconds
    while answers.count(version) < more:
        assert time.monotonic() < deadline, Counter(answers)
        time.sleep(0.05)


def test_a_version_that_the_gate_has_not_passed_stays_outside(askdocs: Askdocs) -> None:
    done = askdocs.cli("models", "promote", "docs@v1")
    assert done.returncode == 2
    assert "the release gate has no verdict on docs@v1" in done.stderr
    assert models(askdocs, "promote", "docs@v1", *FORCED, "--dry-run")["changed"] is False
    assert askdocs.status()["versions"] == {}
    assert Client(askdocs.status()).stream("anybody") == "base"


def test_the_tutorial_promotes_rolls_back_and_tries_on_a_tenth_of_the_users(
    askdocs: Askdocs, tmp_path: Path
) -> None:
    passed = verdict("docs@v1").model_copy(update={"prompt_fingerprint": prompt.fingerprint()})
    open_store(None, askdocs.home).add_verdict("docs@v1", passed)
    client = Client(askdocs.status())

    def ask() -> None:
        users = [f"user-{number}" for number in range(40)]
        eventually(lambda: "docs@v1" in {client.stream(user, tokens=2) for user in users})

    environment = {"ASKDOCS_HOME": str(askdocs.home), "ASKDOCS_KEY": str(askdocs.started["key"])}
    with terminal(tmp_path, environment) as reader:
        reader.follow(
            REPO / "docs" / "tutorials" / "promote.md",
            {"http://127.0.0.1:4000": client.url.removesuffix("/v1")},
            given=(".venv/bin/askdocs eval",),  # see test_evaluation.py
            acts={"5. Compare both": ask},
        )
    eventually(lambda: client.stream("anybody", tokens=2) == "base")


def test_under_load_no_request_fails_and_every_answer_is_wholly_of_one_version(
    askdocs: Askdocs,
) -> None:
    client = Client(askdocs.status())
    models(askdocs, "promote", "docs@v1", *FORCED)
    eventually(lambda: client.stream("anybody", tokens=2) == "docs@v1")
    with load(client) as answers:
        until(answers, "docs@v1", 8)
        done = models(askdocs, "promote", "docs@v2", *FORCED)
        assert (done["from"], done["to"]) == ({"docs@v1": 1.0}, {"docs@v2": 1.0})
        until(answers, "docs@v2", 16)
    first = answers.index("docs@v2")
    assert set(answers[:first]) == {"docs@v1"}
    # A stream that had begun ends where it began: at most one of each client.
    assert answers[first:].count("docs@v1") <= 8

    def compared() -> dict[str, object]:
        return models(askdocs, "compare", "docs@v1", "docs@v2")

    # The gateway writes its counts once a second.
    eventually(lambda: min(compared()["answers"]) >= 8)  # type: ignore[call-overload]
    told = compared()
    assert {m["first"]["value"] for m in told["measures"] if m["measure"] == "failed"} == {0}  # type: ignore[attr-defined]

    with load(client, streams=2) as answers:
        until(answers, "docs@v2", 2)
        models(askdocs, "rollback")
        until(answers, "docs@v1", 8)
    first = answers.index("docs@v1")
    assert answers[first:].count("docs@v2") <= 2


def test_a_canary_gets_its_share_of_users_who_stay_with_it(askdocs: Askdocs) -> None:
    client = Client(askdocs.status())
    models(askdocs, "promote", "docs@v2", "--weight", "10", *FORCED)
    early = (f"early-{number}" for number in count())
    eventually(lambda: client.stream(next(early), tokens=2) == "docs@v2")
    users = [f"person-{number}" for number in range(200)]
    first = {user: client.stream(user, tokens=2) for user in users}
    share = Counter(first.values())
    assert set(share) == {"docs@v1", "docs@v2"}
    assert 8 <= share["docs@v2"] <= 36  # 20 are expected
    again = [user for user in users if first[user] == "docs@v2"][:5] + users[:10]
    assert {user: client.stream(user, tokens=2) for user in again} == {u: first[u] for u in again}
    models(askdocs, "promote", "docs@v2", "--weight", "0")
    eventually(lambda: {client.stream(user, tokens=2) for user in again} == {"docs@v1"})


def test_what_nobody_needs_any_more_is_stopped_and_the_rest_is_not(askdocs: Askdocs) -> None:
    deadline = time.monotonic() + 120
    while set(askdocs.status()["versions"]) != {"docs@v1"}:
        assert time.monotonic() < deadline, askdocs.status()["versions"]
        time.sleep(0.5)
    client = Client(askdocs.status())
    assert client.stream("anybody", model="docs@v1") == "docs@v1"
    with pytest.raises(openai.NotFoundError, match="docs@v2"):
        client.stream("anybody", model="docs@v2")


def test_the_evaluation_has_a_version_served_that_answers_nobody_yet(
    askdocs: Askdocs, docs: Path, tmp_path: Path
) -> None:
    home = Path(os.environ.get("TEST_EVAL_HOME", starting.REPO / ".cache" / "eval"))
    made = environments.find(environments.EVAL, home)
    require(made is not None, ".venv/bin/python -m askdocs.environments eval --home .cache/eval")
    (askdocs.home / "environments").symlink_to(home / "environments")
    rows = [
        {"question": f"Where is machine {number}?", "answer": "Floor 3", "context_doc": "index.md"}
        for number in range(3)
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    evaluation: tuple[str, ...] = (
        "eval",
        "run",
        "--questions",
        str(file),
        "--docs",
        str(docs),
        "--tuned",
        "docs@v3",
    )
    evaluation += ("--systems", "tuned-closed", "--out", str(tmp_path / "run"))
    dry = askdocs.cli(*evaluation, "--dry-run")
    assert "docs@v3 is not served yet" in dry.stderr, dry.stderr
    assert "docs@v3" not in askdocs.status()["versions"]
    done = askdocs.cli(*evaluation)
    assert done.returncode == 0, done.stderr
    answers = answer.latest(tmp_path / "run").values()
    assert [said_by(one.text) for one in answers] == ["docs@v3"] * 3
    measured = run.read(tmp_path / "run").models["tuned"].manifest_sha256
    assert measured == sha256(open_store(None, askdocs.home).manifest_bytes("docs@v3"))
    deadline = time.monotonic() + 120
    while "docs@v3" in askdocs.status()["versions"]:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert Client(askdocs.status()).stream("anybody") != "docs@v3"


def test_a_kill_between_wanted_and_ready_leaves_what_was_and_a_start_serves_it_again(
    home: Path, docs: Path, askdocs: Askdocs
) -> None:
    promoting = subprocess.Popen(
        [COMMAND, "models", "promote", "docs@v3", *FORCED, "--home", home],
        stderr=subprocess.PIPE,
        text=True,
    )
    with sqlite3.connect(home / "askdocs.db") as database:
        row = ("docs@v3", "wanted", "starting")
        while (
            database.execute("SELECT name, state, message FROM deployments").fetchall()[-1] != row
        ):
            assert promoting.poll() is None
            time.sleep(0.02)
    os.kill(askdocs.process.pid, signal.SIGKILL)
    _, error = promoting.communicate(timeout=60)
    assert promoting.returncode == 2
    assert "askdocs stopped meanwhile" in error
    askdocs.process.wait(60)
    with up(home, docs, seconds=400) as again:
        status = again.status()
        assert [(name, one["state"]) for name, one in status["versions"].items()] == [
            ("docs@v1", "ready")
        ]
        assert Client(status).stream("anybody") == "docs@v1"
        # All the way back, to what there was before any promotion.
        assert models(again, "rollback")["to"] == {"base": 1.0}
