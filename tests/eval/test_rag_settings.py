"""The settings of RAG, their file, and what a sweep tries."""

from pathlib import Path

import pytest

from core.errors import AskdocsError
from eval.systems.rag import measure, sweep, table
from eval.systems.rag.measure import RetrievalResult, RetrievedPages
from eval.systems.rag.settings import RagSettings, load
from tests.headings import below


def found(*pages: str, tokens: int = 100) -> RetrievedPages:
    return RetrievedPages(question="q", pages=pages, tokens=tokens, seconds=0.5)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    settings = RagSettings(
        chunk_tokens=1024, overlap=0, mmr_lambda=0.5, rerank=False, chat_model='say "a\\b"'
    )
    file = tmp_path / "rag.toml"
    file.write_text(settings.toml())
    assert load(file) == settings


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("chunk_token = 512", "chunk_token: .*known keys: chunk_tokens"),
        ("k = 'many'", "k: .*integer"),
        ("k = ", "is not TOML"),
        ("overlap = 300", "overlap 300 is more than half of chunk_tokens 512"),
        ("keep = 21\nk = 20", "keep 21 is more than k 20"),
        ("rerank = 'perhaps'", "rerank: .*boolean"),
    ],
)
def test_a_wrong_file_is_one_clear_line(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "rag.toml"
    file.write_text(text)
    with pytest.raises(AskdocsError, match=rf"rag\.toml: {told}") as raised:
        load(file)
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AskdocsError, match=r"none\.toml: cannot be read"):
        load(tmp_path / "none.toml")


def test_a_sweep_tries_what_fits_together() -> None:
    stage = {"chunk_tokens": [256, 2048], "overlap": [0, 200], "rerank": [False]}
    tried = [(one.chunk_tokens, one.overlap) for one in sweep.trials(RagSettings(), stage)]
    assert tried == [(256, 0), (2048, 0), (2048, 200)]
    tried = [(one.k, one.keep) for one in sweep.trials(RagSettings(), {"k": [3, 10]})]
    assert tried == [(10, 5)]
    with pytest.raises(AskdocsError, match=r"chunk_tokens = 100 cannot be tried: .* 256"):
        list(sweep.trials(RagSettings(), {"chunk_tokens": [100]}))


def test_the_best_settings_find_more_then_higher_then_with_less() -> None:
    gold = [("a",), ("b",)]
    results = [
        RetrievalResult(settings=RagSettings(k=20 + n), found=one)
        for n, one in enumerate(
            [
                (found("a"), found("x")),
                (found("x", "a"), found("b")),
                (found("a"), found("b")),
                (found("a"), found("b", tokens=90)),
            ]
        )
    ]
    ranked = sorted(results, key=lambda result: result.rank(gold))
    assert ranked == results


def test_a_table_has_a_row_each_and_differences_of_pairs() -> None:
    gold = [("a",)] * 40
    base, better = RagSettings(), RagSettings(k=40)
    results = [
        RetrievalResult(settings=base, found=(found("x", "a"),) * 20 + (found("x"),) * 20),
        RetrievalResult(settings=better, found=(found("x", "a"),) * 35 + (found("x"),) * 5),
    ]
    first, second, own = table.rows(results, gold, base, {"own": (1, [found("a")] * 40)})
    assert [first.configuration, second.configuration] == [
        "512/64, k 40, λ 0.7, rerank, 5 in 3,000",
        "512/64, k 100, λ 0.7, rerank, 5 in 3,000",
    ]
    assert (first.recall.value, second.recall.value) == (35 / 40, 20 / 40)
    assert first.recall.low < 35 / 40 < first.recall.high
    assert first.first.value == 0
    assert own.first.value == 1
    assert first.difference.value == 15 / 40
    assert first.difference.p < 0.001
    assert second.difference.p == 1
    lines = list(table.markdown([first, second, own]))
    assert len({line.count("|") for line in lines}) == 1
    (few,) = table.rows(
        [RetrievalResult(settings=base, found=(found("a"),) * 2)], gold[:2], base, {}
    )
    assert "| 1.000 (no interval) |" in list(table.markdown([few]))[-1]
    assert few.facts()["ndcg"] == [1, None, None, 2]


def test_half_a_line_of_a_killed_sweep_is_passed_over(tmp_path: Path) -> None:
    result = RetrievalResult(settings=RagSettings(), found=(found("a"),))
    file = tmp_path / measure.FILE
    file.write_text(result.model_dump_json() + "\n" + result.model_dump_json()[:50])
    assert measure.read(tmp_path) == [result]
    sweep._append(file, result)
    assert measure.read(tmp_path) == [result, result]


def test_the_page_about_rag_has_every_setting_with_default_and_meaning() -> None:
    page = Path(__file__).parents[2] / "docs" / "reference/evaluation.md"
    lines = below(page, "settings-of-the-rag-baseline").split("\n##")[0].splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| `")]
    fields = RagSettings.model_fields.items()
    assert rows == [
        [
            f"`{name}`",
            f"`{str(field.default).lower() if field.annotation is bool else field.default}`",
            field.description,
        ]
        for name, field in fields
    ]
