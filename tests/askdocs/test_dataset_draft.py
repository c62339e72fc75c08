"""Drafts of a scripted teacher that plants each kind of error."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from askdocs.cli import app
from gateway.answering.grounding.prompt import REFUSAL
from tests.askdocs.test_dataset_ground import Teacher
from tests.speaking import serving
from training.data import ground

WIKI = {
    "pump.md": (
        "# The pump\n\n## Filter\n\nReplace the filter of the pump every 14 weeks with a wrench."
        " Close the valve before you do it, and open it again when the filter sits firmly in its"
        " place. The [lamp](lamp.md) shows the pressure.\n\n## Motor\n\nThe motor of the pump takes"
        " oil of the type XK30, one liter each year. Fill it in at the top of the motor while it is"
        " cold, and wipe off what runs down at its side.\n"
    ),
    "lamp.md": (
        "# The lamp\n\nThe lamp of the pump is green while the pressure is right and red above 60"
        " bar. It takes a bulb of 5 watts, which an electrician replaces once in two years or so.\n"
    ),
    "short.md": "# Short\n\nNothing much.\n",
}


def reply(question: str, answer: str = "") -> str:
    return f"Here it is:\n{json.dumps({'question': question, 'answer': answer})}"


FILTER = reply(
    "How often is the filter replaced?", "Replace the filter of the pump every 14 weeks [1]."
)
MOTOR = reply("Which oil does the motor take?", "The motor of the pump takes oil of the type XK30.")
LAMP = reply("When is the lamp red?", "The lamp of the pump is red above 60 bar.")
BOTH = reply(
    "How often is the pump filter replaced, and when is the lamp red?",
    "Replace the filter of the pump every 14 weeks. The lamp of the pump is red above 60 bar.",
)


class Script:
    """What the teacher says of each task; tests replace single lines."""

    def __init__(self) -> None:
        self.lines = {"## Filter": FILTER, "## Motor": MOTOR, "bulb": LAMP}
        self.both, self.missed, self.answer = BOTH, reply("Who paints the pump motor?"), REFUSAL

    def __call__(self, asked: str) -> str:
        if "needs both pages" in asked:
            return self.both
        if "sounds as if" in asked:
            return self.missed if "# The pump" in asked else "no JSON"
        if "Reply with JSON" not in asked:
            return self.answer
        return next(said for word, said in self.lines.items() if word in asked)


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def teacher(script: Script) -> Iterator[Teacher]:
    with serving(Teacher(script)) as server:
        yield server


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "wiki").mkdir()
    for name, text in WIKI.items():
        (tmp_path / "wiki" / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["dataset", "draft", "--docs", "wiki", "--json", *words])


def drafted(teacher: Teacher, *words: str) -> tuple[dict[str, int], list[dict[str, object]]]:
    done = run("--out", "out.jsonl", "--teacher", teacher.url, "--model", "big", *words)
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    return json.loads(done.stdout)["outcomes"], rows


def test_good_drafts_of_each_kind_stay(place: Path, teacher: Teacher) -> None:
    outcomes, rows = drafted(teacher)
    assert outcomes == {"drafted": 5, "unreadable": 1}
    by_kind = {str(row["draft"]): row for row in rows}
    assert by_kind["two pages"]["context_docs"] == ["lamp.md"] or by_kind["two pages"][
        "context_docs"
    ] == ["pump.md"]
    assert by_kind["near miss"]["answerable"] is False
    assert {row["split"] for row in rows} == {"train"}
    assert {row["source"] for row in rows} == {"synthetic: big"}
    assert rows[0]["answer"] in (
        "Replace the filter of the pump every 14 weeks.",
        "The lamp of the pump is red above 60 bar.",
    ), "without citations"
    assert not list(place.glob("*.journal"))


@pytest.mark.parametrize(
    ("line", "said", "outcome"),
    [
        (
            "## Filter",
            reply("How often is the filter replaced?", "It is Tuesday in Rome."),
            "unsupported",
        ),
        ("## Filter", reply("How often is the filter replaced?", REFUSAL), "unsupported"),
        (
            "## Filter",
            reply("How often is the filter replaced?", "Replace the filter every 15 weeks."),
            "unsupported",
        ),
        ("## Filter", reply("Zzyzx quux?", "Replace the filter every 14 weeks."), "not found"),
        ("## Filter", reply("Which oil does the motor take?", "x"), "near copy"),
        (
            "## Motor",
            reply("And the filter of the pump?", "Replace the filter every 14 weeks."),
            "unsupported",
        ),
        ("## Filter", "I cannot do this.", "unreadable"),
        ("## Filter", "[1, 2]", "unreadable"),
    ],
)
@pytest.mark.usefixtures("place")
def test_each_planted_error_is_filtered(
    teacher: Teacher, script: Script, line: str, said: str, outcome: str
) -> None:
    Path("known.jsonl").write_text(
        json.dumps(
            {
                "question": "Which oil does the motor take?" if outcome == "near copy" else "Q?",
                "answer": "a",
                "split": "test",
            }
        )
        + "\n"
    )
    script.lines[line] = said
    outcomes, rows = drafted(teacher, "--like", "known.jsonl")
    assert outcomes[outcome] >= 1 + (outcome == "unreadable")
    assert all(str(row["question"]) not in said for row in rows)


@pytest.mark.usefixtures("place")
def test_a_near_miss_that_the_pages_answer_is_dropped(teacher: Teacher, script: Script) -> None:
    script.missed, script.answer = reply("How warm is the motor?"), "It is cold."
    outcomes, rows = drafted(teacher)
    assert outcomes["answered"] == 1
    assert "near miss" not in {row["draft"] for row in rows}


@pytest.mark.usefixtures("place")
def test_the_cost_is_known_before_and_nothing_is_asked(teacher: Teacher) -> None:
    done = run("--dry-run", "--limit", "3")
    facts = json.loads(done.stdout)
    assert (facts["asked"], facts["outcomes"]) == (3, {})
    assert 100 < facts["prompt_tokens"] < 1000
    assert not teacher.bodies


@pytest.mark.usefixtures("place")
def test_an_interrupted_run_asks_nothing_twice(
    teacher: Teacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ground, "PATIENCE", 0.0)
    words = ("--out", "out.jsonl", "--teacher", teacher.url, "--model", "big", "--at-once", "1")
    teacher.busy = 0
    good = teacher.says

    def breaks(asked: str) -> str:
        teacher.busy = 1  # refuses the next request
        return good(asked)

    teacher.says = breaks
    done = run(*words, "--limit", "3")
    assert "run the command again to continue" in str(done.exception)
    assert not Path("out.jsonl").exists()
    teacher.says, teacher.busy = good, 0
    before = len(teacher.bodies)
    assert run(*words, "--limit", "3").exit_code == 0
    assert len(teacher.bodies) == before + 2
