import pytest

from core.errors import AskdocsError
from eval.scoring.families import check, family


@pytest.mark.parametrize(
    ("model", "of"),
    [
        ("gpt-5-mini", "openai"),
        ("o3", "openai"),
        ("claude-opus-4", "anthropic"),
        ("meta-llama/Llama-3.1-8B-Instruct", "meta"),
        ("Qwen3-Next-80B", "alibaba"),
        ("SmolLM2-135M-Instruct-Q8_0.gguf", "hugging face"),
        ("phi-4", "microsoft"),
        ("docs@v7", None),
        ("graphite", None),
    ],
)
def test_the_name_of_a_model_tells_its_family(model: str, of: str | None) -> None:
    assert family(model) == of


def test_a_judge_of_the_writers_family_is_refused() -> None:
    writers = ["docs@v7", "meta-llama/Llama-3.1-8B"]
    with pytest.raises(AskdocsError, match="of the family meta, which also wrote"):
        check([("llama-4-maverick", None)], writers)
    with pytest.raises(AskdocsError, match="of the family meta"):
        check([("grader", "meta")], writers)
    assert check([("gpt-5", None), ("claude-opus-4", None)], writers) == []


def test_two_judges_are_of_two_families() -> None:
    with pytest.raises(AskdocsError, match=r"of one family \(openai, openai\)"):
        check([("gpt-5", None), ("o3", None)], ["llama"])


def test_what_is_not_known_is_said() -> None:
    (alone,) = check([("gpt-5", None)], ["llama"])
    assert "add a second --judge-model" in alone
    notes = check([("grader", None), ("gpt-5", None)], ["docs@v1"])
    assert ["grader is unknown" in notes[0], "wrote the answers" in notes[1]] == [True, True]
    assert check([], []) == []
