"""A judge: an ONNX file that checks sentences beside the rules."""

from pathlib import Path

import pytest

from core.errors import AskdocsError
from core.settings import load
from gateway.answering import judge as judging
from gateway.answering import scorers
from gateway.answering.check import Check
from gateway.answering.claims import Claim, added
from gateway.answering.grounding.excerpt import Excerpt
from gateway.answering.judge import Judge
from gateway.settings import GatewaySettings
from tests.gateway.conftest import page
from wiki.index.embed import weights_file
from wiki.search.rerank import BUNDLED

PAGE = page(
    "coffee.md",
    "# Coffee\n\nThe machine stands on floor 3. Descale it every 14 days. Guests may use it.",
)
ANSWER = "Guests are allowed to use the machine. It holds 250 cups of tea."


@pytest.fixture(scope="module")
def judge() -> Judge:
    """The bundled reranker: a cross-encoder with the inputs and the output of a judge."""
    return Judge(BUNDLED, 0.65)


async def claims(scorer: Judge | None, alone: bool = False, text: str = ANSWER) -> list[Claim]:
    excerpts = [Excerpt(PAGE, PAGE.sections, 1)]
    check = Check(excerpts, lambda stems: dict.fromkeys(stems, 1.0), scorer, alone=alone)
    return await check.claims(text)


async def test_a_judge_adds_its_logit_to_the_score_of_the_rules(judge: Judge) -> None:
    rules, both, alone = await claims(None), await claims(judge), await claims(judge, alone=True)
    narrow = "Coffee The machine stands on floor 3. Descale it every 14 days. Guests may use it."
    (logit,) = await judge.scores(["Guests are allowed to use the machine."], [narrow], ())
    assert rules[0].score
    assert both[0].score == pytest.approx(added(rules[0].score, logit), abs=0.02)
    assert alone[0].score == pytest.approx(added(0.5, logit), abs=0.01)
    # What no page has is wrong, whatever a model says.
    assert both[1] == rules[1]
    assert both[1].reason == "number: 250"


async def test_a_judge_of_english_leaves_other_languages_to_the_rules(judge: Judge) -> None:
    german = "Gäste dürfen die Maschine auf Etage 3 benutzen und müssen sie danach sauber machen."
    assert await claims(judge, text=german) == await claims(None, text=german)


async def test_a_judge_gives_up_an_answer_that_takes_too_long(
    judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "LONGEST", 1e-4)
    with pytest.raises(AskdocsError, match=r"\d of 9 sentences in 0\.0001 s"):
        await judge.scores([ANSWER] * 9, [PAGE.text] * 9, ())


def test_the_settings_name_a_file(tmp_path: Path) -> None:
    file = tmp_path / "askdocs.toml"
    file.write_text(f'[gateway]\nchecker = "{BUNDLED}"\n')
    checker = scorers.load(load(GatewaySettings, env={}, file=file), {})
    assert isinstance(checker, Judge)
    assert (checker.name, checker.threshold) == ("model.onnx", 0.65)


def test_a_file_that_is_no_judge_is_an_error_with_its_name(tmp_path: Path) -> None:
    missing, text = tmp_path / "judge.onnx", tmp_path / "text.onnx"
    text.write_text("no model")
    with pytest.raises(AskdocsError, match=r"judge\.onnx: no such file"):
        Judge(missing, 0.65)
    with pytest.raises(AskdocsError, match=r"text\.onnx: the judge does not run here: "):
        Judge(text, 0.65)
    with pytest.raises(AskdocsError, match=r"model\.onnx: .* not a cross-encoder"):
        Judge(weights_file(), 0.65)  # an embedding model
