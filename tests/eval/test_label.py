"""Labels of people: what is drawn, stored and shown, and what they correct."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from typer.testing import CliRunner

from askdocs.cli import app
from eval.label import sample, server
from eval.scoring.mark import Mark
from eval.scoring.scored import Scored, score
from eval.statistics import agreement, prediction_powered
from eval.statistics.prediction_powered import Judged
from tests.eval import runs
from tests.eval.runs import Behaviour

SYSTEMS = {"tuned-pages": Behaviour(accuracy=0.8), "base-pages": Behaviour(accuracy=0.4)}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return runs.write(tmp_path / "run", SYSTEMS)


@pytest.fixture
def scored(run: Path) -> Scored:
    return score(run)


def sides(scored: Scored) -> list[list[Mark]]:
    return [scored.fair[name] for name in SYSTEMS]


def test_two_people_with_one_seed_get_the_same_answers_of_both_systems(scored: Scored) -> None:
    items = sample.draw(sides(scored), 30, seed=1)
    assert items == sample.draw(sides(scored), 30, seed=1)
    assert items != sample.draw(sides(scored), 30, seed=2)
    assert {item.mark.answer.system for item in items} == set(SYSTEMS)
    assert all(item.mark.answered and item.mark.question.answerable for item in items)
    first = [item.mark.answer.system for item in items[:20:2]]
    assert len(set(first)) == 2, "the order does not show the system"


@pytest.fixture
def page(run: Path, scored: Scored) -> Iterator[tuple[str, Path]]:
    """The address of a page that is served, and its file of labels."""
    items = sample.draw(sides(scored), 2, seed=1)
    file = run / sample.FILE
    texts = {path: f"Page {path}" for item in items for path in item.mark.question.pages}
    served, address = server.bound(server.Labelling(items, file, "ada", texts), 0)
    thread = threading.Thread(target=served.serve_forever)
    thread.start()
    yield address, file
    served.shutdown()
    served.server_close()
    thread.join()


def test_answers_are_labelled_without_their_system(page: tuple[str, Path]) -> None:
    address, file = page
    with httpx.Client(base_url=address) as client:
        text = client.get("")
        assert "Label answers" in text.text
        assert "default-src 'none'" in text.headers["content-security-policy"]
        item = client.get("next").json()
        assert "tuned" not in json.dumps(item)
        assert item["pages"]
        total = item["total"]
        skipped = client.post("label", json={"number": item["number"], "correct": None}).json()
        assert skipped["done"] == 0
        assert skipped["number"] != item["number"]
        for done in range(1, total + 1):
            number = client.get("next").json()["number"]
            item = client.post("label", json={"number": number, "correct": done > 1}).json()
        assert item == {"done": total, "total": total}
    labels = agreement.read(file)
    assert sorted(labels.values()) == [False, *[True] * (total - 1)]
    assert {row["by"] for row in sample.read(file)} == {"ada"}


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/next", {}),
        ("/wrong/next", {}),
        ("next", {"Host": "evil.example"}),
        ("next", {"Origin": "https://evil.example"}),
    ],
)
def test_other_pages_and_programs_get_nothing(
    page: tuple[str, Path], path: str, headers: dict[str, str]
) -> None:
    assert httpx.get(httpx.URL(page[0]).join(path), headers=headers).status_code == 404


@pytest.mark.parametrize("body", [b"", b"no", b"[]", b'{"number": 1, "correct": 7}', b"0" * 20_000])
def test_what_is_no_label_is_refused(page: tuple[str, Path], body: bytes) -> None:
    address, file = page
    assert httpx.post(f"{address}label", content=body).status_code == 400
    assert not file.exists()


def test_a_judge_that_favours_one_system_is_corrected() -> None:
    """Prediction-powered inference on the paired difference covers the truth."""
    covered, biased, widths = 0, 0, []
    for seed in range(200):
        draws = np.random.default_rng(seed)
        truth = draws.random((2, 400)) < [[0.6], [0.5]]
        # The judge takes a third of the second system's wrong answers for right.
        verdicts = truth | (draws.random((2, 400)) < [[0.0], [0.33]])
        labelled = draws.permutation(400) < 100
        first, second = (
            [
                Judged(float(said), float(true) if known else None, number)
                for number, (said, true, known) in enumerate(
                    zip(verdicts[side], truth[side], labelled, strict=True)
                )
            ]
            for side in (0, 1)
        )
        found = prediction_powered.difference(first, second)
        assert found is not None
        covered += found.low <= 0.1 <= found.high
        biased += abs(float((verdicts[0] * 1.0 - verdicts[1]).mean()) - 0.1) > 0.1
        widths.append(found.high - found.low)
    assert covered >= 185
    assert biased > 150
    assert np.mean(widths) < 0.9 * 2 * 1.96 * (0.49 / 100) ** 0.5, "narrower than labels alone"


def test_too_few_labels_correct_nothing(scored: Scored) -> None:
    assert sample.summary(sides(scored), []).difference is None


def test_the_command_tells_agreement_and_difference(run: Path, scored: Scored) -> None:
    rows = []
    for person, wrong in (("ada", 0), ("bob", 3)):
        for item in sample.draw(sides(scored), 60, seed=0):
            place = {"question": item.mark.question.id, "system": item.mark.answer.system}
            rows.append({**place, "correct": item.mark.near != (item.number < wrong), "by": person})
    (run / sample.FILE).write_text("".join(json.dumps(row) + "\n" for row in rows))

    def told(*words: str) -> Any:
        done = CliRunner().invoke(
            app, ["eval", "label", str(run), "--summary", "--home", str(run.parent), *words]
        )
        assert done.exit_code == 0, done.output
        return done.stdout

    facts = json.loads(told("--json"))
    size = facts["labels"]["ada"]
    assert facts["labels"] == {"ada": size, "bob": size}
    assert facts["agreement"]["share"] == pytest.approx(1 - 3 / size)
    assert facts["systems"] == ["tuned-pages", "base-pages"]
    assert facts["difference"]["low"] > 0.1
    assert "difference  tuned-pages minus base-pages: +" in told()
