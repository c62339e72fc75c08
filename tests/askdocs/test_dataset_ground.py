"""Answers that no page supports, rewritten by a teacher that sees the page."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from askdocs.cli import app
from core.errors import AskdocsError
from tests.speaking import Handler, serving
from training.data import ground as grounding

PATIENCE = 60.0


class _Handler(Handler):
    server: "Teacher"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.bodies.append(body)
        if self.server.busy:
            self.server.busy -= 1
            self.json(429, {"error": "busy"})
            return
        said = self.server.says(str(body["messages"][-1]["content"]))
        choice: dict[str, Any] = {"message": {"role": "assistant", "content": said}}
        if body.get("logprobs"):  # asked as the checker
            choice["logprobs"] = {"content": [{"token": said, "logprob": -0.01}]}
        self.json(200, {"choices": [choice]})


class Teacher(ThreadingHTTPServer):
    """Gives the scripted reply to each question."""

    def __init__(self, says: Callable[[str], str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.says = says
        self.busy = 0
        self.bodies: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


PUMP = (
    "# The pump\n\nHow to service it.\n\n## Filter\n\nReplace the filter every 14 weeks with a"
    " wrench. Close the valve before.\n\n## Motor\n\nThe motor takes oil of the type XK30.\n"
)
# The person knew more than the page says.
ROWS: list[dict[str, Any]] = [
    {
        "question": "How often do I replace the filter?",
        "answer": "Replace the filter every 14 weeks. Bob in hall 99 sells filters.",
        "context_doc": "pump.md",
        "source": "forum",
        "validated_by": "ann",
    },
    {
        "question": "Which oil does the motor take?",
        "answer": "The motor takes oil of the type XK30.",
        "context_doc": "pump.md",
    },
    {
        "question": "Who paints the pump?",
        "answer": "Painters from Greenland come by ship.",
        "context_doc": "pump.md",
    },
    {
        "question": "What do I do before I replace the filter?",
        "answer": "Close the valve. Then replace the filter with a wrench. Bob sings to it.",
        "context_doc": "pump.md",
    },
    {"question": "Who sells wrenches?", "answerable": False},
]
GOOD = "Replace the filter every 14 weeks with a wrench [2]."


def says(asked: str) -> str:
    """The good answer to one question, and to another one what the page says of other things."""
    return GOOD if asked.startswith("How often") else "The motor takes oil of the type XK30."


@pytest.fixture
def teacher() -> Iterator[Teacher]:
    with serving(Teacher(says)) as server:
        yield server


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "wiki").mkdir()
    (tmp_path / "wiki" / "pump.md").write_text(PUMP)
    (tmp_path / "wiki" / "lamp.md").write_text("# The lamp\n\nA lamp takes a bulb of 60 watts.\n")
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(
        app, ["dataset", "ground", "rows.jsonl", "--docs", "wiki", "--json", *words]
    )


def to(teacher: Teacher) -> tuple[str, ...]:
    return "--out", "out.jsonl", "--teacher", teacher.url, "--model", "big"


def test_only_what_check_and_person_agree_on_is_kept(place: Path, teacher: Teacher) -> None:
    teacher.busy = 1
    done = run(*to(teacher))
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert (facts["rows"], facts["supported"], facts["unsupported"]) == (5, 1, 3)
    assert facts["outcomes"] == {"rewritten": 1, "not on the page": 1, "disagrees": 1}
    rows = [json.loads(line) for line in (place / "out.jsonl").read_text().splitlines()]
    assert rows == [
        {
            "question": ROWS[0]["question"],
            "answer": "Replace the filter every 14 weeks with a wrench.",
            "context_doc": "pump.md",
            "source": "synthetic: big",
            "human_answer": ROWS[0]["answer"],
            "human_source": "forum",
        },
        ROWS[1],
        ROWS[4],
    ]
    assert not list(place.glob("*.journal"))
    system = teacher.bodies[0]["messages"][0]["content"]
    assert "[2] ## Filter" in system
    assert "wrench" in system


@pytest.mark.parametrize(
    ("person", "answer", "outcome"),
    [
        pytest.param(
            "Bob in hall 99 sells filters, repairs broken hoses and knows the interval; I wait 14"
            " weeks.",
            "Replace the filter every 14 weeks with a wrench.",
            "rewritten",
            id="little of what the person said is on the page",
        ),
        pytest.param(
            "Replace the filter with a wrench, and close the valve before. Bob sells filters.",
            "Replace the filter every 14 weeks.",
            "rewritten",
            id="shorter than the person's answer",
        ),
        pytest.param(
            ROWS[0]["answer"],
            "Do not wait longer than 14 weeks, because the filter clogs then.",
            "unsupported",
            id="a sentence that the check does not mark, and is unsure of",
        ),
    ],
)
def test_a_good_answer_is_kept_and_an_unsure_one_is_not(
    place: Path, teacher: Teacher, person: str, answer: str, outcome: str
) -> None:
    (place / "rows.jsonl").write_text(json.dumps({**ROWS[0], "answer": person}))
    teacher.says = lambda _: answer
    assert json.loads(run(*to(teacher)).stdout)["outcomes"] == {outcome: 1}


def test_rows_that_are_rewritten_are_counted_and_those_that_a_person_confirmed(
    place: Path, teacher: Teacher
) -> None:
    assert run(*to(teacher), "--keep").exit_code == 0
    lines = (place / "out.jsonl").read_text().splitlines()
    assert len(lines) == len(ROWS)
    confirmed = {**json.loads(lines[0]), "validated_by": "ann"}
    (place / "rows.jsonl").write_text("\n".join([json.dumps(confirmed), *lines[1:]]))
    facts = json.loads(run("--dry-run").stdout)
    assert (facts["synthetic"], facts["synthetic_confirmed"]) == (1, 1)
    assert (facts["supported"], facts["asked"]) == (2, 2)


def test_a_dry_run_and_a_limit_ask_as_little_as_they_say(place: Path, teacher: Teacher) -> None:
    facts = json.loads(run("--dry-run").stdout)
    assert facts["asked"] == 3
    assert not (place / "out.jsonl").exists()
    facts = json.loads(run(*to(teacher), "--limit", "1").stdout)
    assert sum(facts["outcomes"].values()) == 1
    assert len(teacher.bodies) == 1


def test_a_run_that_was_killed_goes_on_where_it_was(place: Path, teacher: Teacher) -> None:
    """SIGKILL while the second question waits; then the first is not asked again."""
    first = ROWS[0]["question"]
    is_first = True

    def slow(asked: str) -> str:
        while not asked.startswith(first) and is_first:
            time.sleep(0.05)
        return says(asked)

    teacher.says = slow
    words = [*("dataset", "ground", "rows.jsonl", "--docs", "wiki"), *to(teacher)]
    argv = [str(Path(sys.executable).with_name("askdocs")), *words, "--at-once", "1"]
    process = subprocess.Popen(argv, cwd=place)
    journal = place / "out.jsonl.journal"
    until = time.monotonic() + PATIENCE
    while not (journal.exists() and len(journal.read_bytes().splitlines()) == 1):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    is_first = False
    with journal.open("ab") as file:
        file.write(b'{"key": "half')
    before = len(teacher.bodies)
    done = run(*to(teacher))
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["outcomes"]["rewritten"] == 1
    asked = [str(body["messages"][-1]["content"]) for body in teacher.bodies[before:]]
    assert asked
    assert not any(one.startswith(first) for one in asked)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"key": "a", "outcome": "rewritten", "answer": "b"}', "of an older format, .* delete it"),
        ("[]", "is not a journal of `dataset ground`"),
        ("4", "is not a journal of `dataset ground`"),
    ],
)
def test_a_journal_in_an_older_format_and_another_file_are_reported_apart(
    tmp_path: Path, line: str, said: str
) -> None:
    file = tmp_path / "out.jsonl.journal"
    file.write_text(f"{line}\n")
    with pytest.raises(AskdocsError, match=said):
        grounding.Journal(file)


def test_another_checker_judges_again_the_answers_that_are_known(
    place: Path, teacher: Teacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that broke off had judged by the rules alone; now a model checks, too, and says no."""
    monkeypatch.setattr(grounding, "PATIENCE", 0.0)
    teacher.says = lambda asked: says(asked) if asked.startswith("How often") else _broken()
    assert run(*to(teacher), "--at-once", "1").exit_code == 1
    assert len((place / "out.jsonl.journal").read_bytes().splitlines()) == 1
    teacher.says = lambda asked: "no" if asked.startswith("Is this statement") else says(asked)
    monkeypatch.setenv("ASKDOCS_GATEWAY_CHECKER", "engine")
    monkeypatch.setenv("ASKDOCS_GATEWAY_ENGINE_URL", teacher.url)
    monkeypatch.setenv("ASKDOCS_GATEWAY_ENGINE_MODEL", "big")
    before = len(teacher.bodies)
    facts = json.loads(run(*to(teacher)).stdout)
    assert facts["outcomes"] == {"unsupported": 2, "not on the page": 1}
    again = [body for body in teacher.bodies[before:] if not body.get("logprobs")]
    first = [one for one in again if one["messages"][-1]["content"].startswith("How often")]
    assert [one["temperature"] for one in first] == [0.7]  # the first answer is known


def _broken() -> str:
    raise ConnectionAbortedError


def test_a_teacher_that_refuses_the_key_is_named(place: Path, teacher: Teacher) -> None:
    class Refusing(_Handler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.json(401, {"error": "no such key"})

    teacher.RequestHandlerClass = Refusing
    done = run(*to(teacher))
    assert "refuses: 401" in str(done.exception)
    assert "run the command again to continue" in str(done.exception)
    assert not (place / "out.jsonl").exists()


def test_a_teacher_whose_address_is_none_is_named(place: Path) -> None:
    done = run("--out", "new.jsonl", "--teacher", "http://localhost:80a/v1", "--model", "m")
    assert "http://localhost:80a/v1/chat/completions: is no address" in str(done.exception)


def test_without_a_teacher_it_says_what_is_missing(place: Path) -> None:
    assert "--out FILE.jsonl --teacher URL --model NAME" in str(run().exception)
