"""The answers of endpoints whose accuracy is known are measured at that value."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from eval.studies import learnt, orders
from eval.systems.trivial import best_overlap, first_sentence
from gateway.answering.grounding.prompt import REFUSAL
from gateway.core.errors import AskdocsError

PAGES = 3


def example(number: int, kind: str) -> dict[str, Any]:
    """Of three pages, each with a fact; that of the page that answers ends with the number."""
    position = number % PAGES + 1
    bodies = [
        f"## About\n\nThe pump has a valve {place}{number}. It is blue.\n"
        for place in range(1, PAGES + 1)
    ]
    pages = "\n\n".join(f'<page title="P">\n{body}\n</page>' for body in bodies)
    grounded = kind == "grounded"
    return {
        "prompt": [
            {"role": "system", "content": f"Answer.\n\n{pages}"},
            {"role": "user", "content": f"Beside it.\n\nQuestion: Which valve, {number}?"},
        ],
        "completion": [
            {
                "role": "assistant",
                "content": f"valve {position}{number}" if grounded else REFUSAL,
            }
        ],
        "meta": {
            "line": number + 1,
            "kind": kind,
            "position": position if grounded else None,
            "pages": [f"{place}.md" for place in range(PAGES)],
        },
    }


@pytest.fixture
def file(tmp_path: Path) -> Path:
    kinds = ["grounded"] * 8 + ["refusal-unanswerable", "refusal-gold-removed"]
    rows = [example(number, kinds[number % 10]) for number in range(300)]
    path = tmp_path / "test.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


Answer = Callable[[dict[str, Any]], str]


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Answer], Any]]:
    """An OpenAI endpoint that answers as a function says, at the URL that it returns."""
    runners: list[web.AppRunner] = []

    async def start(answer: Answer) -> str:
        async def models(_: web.Request) -> web.Response:
            return web.json_response({"data": [{"id": "scripted"}]})

        async def chat(request: web.Request) -> web.Response:
            said = answer(await request.json())
            return web.json_response({"choices": [{"message": {"content": said}}]})

        app = web.Application()
        app.add_routes([web.get("/v1/models", models), web.post("/v1/chat/completions", chat)])
        runner = web.AppRunner(app)
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}/v1"

    yield start
    for runner in runners:
        await runner.cleanup()


def number(body: dict[str, Any]) -> int:
    return int(body["messages"][-1]["content"].rpartition(", ")[2].rstrip("?"))


def right(body: dict[str, Any]) -> str:
    n = number(body)
    return f"valve {n % PAGES + 1}{n}" if n % 10 < 8 else REFUSAL


async def asked(url: str, examples: list[learnt.Example]) -> dict[str, learnt.Estimate]:
    told: dict[str, str] = {}
    answers = await learnt.ask(url, examples, {}, told.__setitem__)
    assert told == answers
    return learnt.scores(measured(examples, answers))


def measured(examples: list[learnt.Example], answers: dict[str, str]) -> learnt.Measured:
    return [learnt.measure(example, answers[example.id]) for example in examples]


async def test_a_known_accuracy_is_measured(file: Path, serve: Any) -> None:
    examples = learnt.read(file)
    assert [e.answerable for e in examples[:10]] == [True] * 8 + [False] * 2

    def six_of_ten(body: dict[str, Any]) -> str:
        return right(body) if number(body) % 5 < 3 else "nothing of it"

    found = await asked(await serve(six_of_ten), examples)
    # Of the answerable ones of each ten, 0 to 7, those of 0, 1, 2, 5, 6, 7 are right.
    assert found["token F1"].value == pytest.approx(6 / 8)
    assert found["token F1"].low < 6 / 8 < found["token F1"].high
    assert found["false refusals"].value == 0
    assert found["true refusals"].value == 0


async def test_one_that_refuses_everything_scores_nothing_for_it(file: Path, serve: Any) -> None:
    found = await asked(await serve(lambda _: REFUSAL), learnt.read(file))
    assert found["true refusals"].value == 1
    assert found["false refusals"].value == 1
    assert found["token F1"].value == 0
    assert "token F1 where it answers" not in found


async def test_one_that_reads_the_first_page_alone_is_found_out(file: Path, serve: Any) -> None:
    examples = learnt.read(file)
    found = await asked(await serve(lambda body: f"valve 1{number(body)}"), examples)
    assert found["token F1, page 1 of 3"].value == 1
    assert found["token F1, page 2 of 3"].value == pytest.approx(0.5)
    same = {e.id: first_sentence(e.texts, e.question) for e in examples}
    assert all(said.startswith("The pump has a valve 1") for said in same.values())
    assert best_overlap(examples[0].texts, examples[0].question).startswith("The pump has a valve")


async def test_two_models_are_compared_question_by_question(file: Path) -> None:
    examples = learnt.read(file)
    better = {e.id: e.answer for e in examples}
    worse = {e.id: e.answer if n % 2 else REFUSAL for n, e in enumerate(examples)}
    found = learnt.compare(measured(examples, better), measured(examples, worse))
    assert found["token F1"].value == pytest.approx(0.5)
    assert found["token F1"].low > 0
    assert found["false refusals"].value == pytest.approx(-0.5)


async def test_what_was_answered_is_not_asked_again(
    file: Path, serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    seen: list[int] = []

    def counting(body: dict[str, Any]) -> str:
        seen.append(number(body))
        return right(body)

    url, kept = await serve(counting), tmp_path / "kept.jsonl"
    words = ["--examples", str(file), "--model", f"tuned={url}", "--keep", str(kept)]
    for limit in ("30", "60"):
        monkeypatch.setattr(sys, "argv", ["learnt", *words, "--limit", limit, "--json"])
        assert await asyncio.to_thread(learnt.main) == 0
    few, facts = (
        json.loads(f"{part}}}") for part in capsys.readouterr().out.split("\n}\n") if part
    )
    assert facts["scores"]["tuned"]["token F1"]["value"] == 1
    place = few["scores"]["tuned"]["token F1, page 1 of 3"]
    assert place == {"value": 1, "low": None, "high": None, "size": 10}
    assert len(seen) == len(set(seen)) == len(kept.read_text().splitlines())
    with kept.open("a") as half:
        half.write('{"model": "tuned", "evaluation')
    monkeypatch.setattr(sys, "argv", ["learnt", *words])
    assert await asyncio.to_thread(learnt.main) == 0
    assert len(seen) == 300
    assert "| token F1 | 1.000 (1.000 to 1.000) |" in capsys.readouterr().out
    assert len(kept.read_text().splitlines()) == 301  # nothing is glued to half a line


def test_what_is_no_example_is_named_with_its_line(file: Path) -> None:
    with file.open("a") as more:
        more.write('{"question": "?"}\n')
    with pytest.raises(AskdocsError, match=r"test.jsonl:301: is not an example"):
        learnt.read(file)


def test_seeds_of_an_arm_count_once_for_each_question(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    examples, kept = learnt.read(file), tmp_path / "kept.jsonl"
    lines = [
        {"model": f"tuned#{seed}", "example": e.id, "answer": e.answer if seed else "nothing"}
        for seed in (0, 1)
        for e in examples
    ]
    kept.write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = ["--examples", str(file), "--model", "tuned#0", "--model", "tuned#1"]
    monkeypatch.setattr(sys, "argv", ["learnt", *words, "--keep", str(kept)])
    assert learnt.main() == 0
    row = next(r for r in capsys.readouterr().out.splitlines() if r.startswith("| token F1 |"))
    assert row.split(" | ")[1] == "0.500 (0.500 to 0.500), seeds 0.000 to 1.000"
    monkeypatch.setattr(sys, "argv", ["learnt", *words])
    assert learnt.main() == 2
    assert "--model tuned#0: write NAME=URL" in capsys.readouterr().err


def test_answers_are_checked_by_the_pages_of_their_prompt(file: Path, tmp_path: Path) -> None:
    example = learnt.read(file)[0]
    for path, text in zip(example.pages, example.texts, strict=True):
        (tmp_path / path).write_text(text)
    support = learnt.Support(tmp_path, [example])
    right = f"The pump has a valve {example.position}0."
    found = learnt.measure(example, f"{right} Turn it with 47 spanners.", support)
    assert found["claims supported"] == 0.5
    assert found["every claim supported"] == 0
    assert learnt.measure(example, right, support)["every claim supported"] == 1
    assert learnt.measure(example, "Hello!", support).get("claims supported") is None
    with pytest.raises(AskdocsError, match="name another --docs"):
        learnt.Support(tmp_path / "away", [example])


def test_a_quotation_is_a_run_of_words_that_a_page_has() -> None:
    page = "Open the menu, choose **Help** once, then Troubleshooting Information, and wait."
    copied = (
        "> Open the menu, choose Help once, then troubleshooting information. [1]\n\nThen wait."
    )
    assert learnt.quotes(copied, ["another page", page])
    assert not learnt.quotes("Choose Help, then wait for the troubleshooting menu.", [page])


def one_page(number: int) -> dict[str, Any]:
    """An example whose page has two sections and a numbered list of its own."""
    page = (
        f'<page title="Page {number}">\n[1] # Pump {number}\n\nIt has valve {number} of steel.\n\n'
        f"[2] ## Repair\n\nSee:\n\n[1] the book, and close valve {number} first.\n</page>"
    )
    return {
        "prompt": [
            {"role": "system", "content": f"Answer.\n\n{page}"},
            {"role": "user", "content": f"Question: Which valve has pump {number}?"},
        ],
        "completion": [{"role": "assistant", "content": f"It has valve {number} of steel.[1]"}],
        "meta": {"kind": "grounded", "position": 1, "pages": [f"{number}.md"]},
    }


@pytest.fixture
def orders_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Thirty questions, each with two pages in both orders."""
    alone, both = tmp_path / "alone.jsonl", tmp_path / "orders.jsonl"
    alone.write_text("".join(json.dumps(one_page(number)) + "\n" for number in range(10, 40)))
    monkeypatch.setattr(sys, "argv", ["orders", "--examples", str(alone), "--out", str(both)])
    assert orders.main() == 0
    return both


def test_each_question_has_its_page_first_and_second(orders_file: Path) -> None:
    first, second, *others = learnt.read(orders_file)
    assert len(others) == 58
    assert (first.position, second.position) == (1, 2)
    assert first.pages == second.pages[::-1]
    assert first.pages[0] == "10.md"
    assert first.question == second.question == "Which valve has pump 10?"
    for example in (first, second):
        content = example.messages[0]["content"]
        assert content.startswith('Answer.\n\n<page title="Page ')
        starts = [line[:3] for line in content.splitlines() if line.startswith("[")]
        # The list of the page keeps its number.
        assert starts == ["[1]", "[2]", "[1]", "[3]", "[4]", "[1]"]
        assert example.answer == "It has valve 10 of steel."


def test_the_second_page_is_the_one_with_most_words_of_the_question() -> None:
    pages = {"c.md": "Close the valve.", "b.md": "Close the valve of the pump.", "a.md": "Close."}
    assert orders.nearest("Which valve has the pump?", pages) == "b.md"
    with pytest.raises(AskdocsError, match="name a file with several pages"):
        orders.nearest("Which valve?", {})


def test_a_model_that_quotes_the_first_page_is_found_by_the_two_orders(
    orders_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    for path in range(10, 40):
        (tmp_path / f"{path}.md").write_text(f"# Pump\n\nIt has valve {path} of steel.\n")
    examples, kept = learnt.read(orders_file), tmp_path / "kept.jsonl"
    wordy = "It has valve {} of steel, and nothing else has any."

    def answer(model: str, example: learnt.Example) -> str:
        first = example.pages[0] if model == "first#0" else f"{example.question[-3:-1]}.md"
        return wordy.format(first.removesuffix(".md"))

    kept.write_text(
        "".join(
            json.dumps({"model": model, "example": e.id, "answer": answer(model, e)}) + "\n"
            for model in ("first#0", "first#1", "fair")
            for e in examples
        )
    )
    words = ["--examples", str(orders_file), "--keep", str(kept), "--docs", str(tmp_path)]
    models = ["--model", "first#0", "--model", "first#1", "--model", "fair"]
    monkeypatch.setattr(sys, "argv", ["learnt", *words, *models, "--json"])
    assert learnt.main() == 0
    gaps = json.loads(capsys.readouterr().out)["first_minus_second"]
    assert gaps["first#1"] == gaps["fair"]
    assert gaps["fair"]["token F1"]["value"] == 0
    assert gaps["first#0"]["token F1"]["value"] > 0.05
    supported = "claims supported by the page that answers"
    assert gaps["first#0"][supported]["value"] == 1
    assert gaps["first#0"]["claims supported"]["value"] == 0
    assert gaps["first"][supported] == {"value": 0.5, "low": 0.5, "high": 0.5, "size": 30}
    monkeypatch.setattr(sys, "argv", ["learnt", *words, *models])
    assert learnt.main() == 0
    shown = capsys.readouterr().out
    assert "\nfair, page that answers first minus second: token F1 0.000 (" in shown


def test_a_file_without_a_page_alone_has_no_orders(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    words = ["--examples", str(file), "--out", str(tmp_path / "out.jsonl")]
    monkeypatch.setattr(sys, "argv", ["orders", *words])
    assert orders.main() == 2
    assert "no answerable example with one page" in capsys.readouterr().err
