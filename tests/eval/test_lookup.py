"""Drafts of n-gram speculative decoding, as vLLM makes them."""

import ast
import json
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models

from eval.studies import lookup
from eval.studies.lookup import Lookup, measure, steps
from tests.training import small

PAGE = [1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_a_copied_answer_takes_few_steps_and_another_one_as_many_as_it_has_tokens() -> None:
    copied, new = [9, 3, 4, 5, 6, 7, 8], [20, 21, 22, 23]
    # 9, 3 and 4 one by one, then a draft of 5, 6, 7 and the token behind it.
    assert steps(PAGE, copied, 3, 2, 5) == 4
    assert steps(PAGE, new, 3, 2, 5) == 4
    assert measure([(PAGE, copied), (PAGE, copied)])[0].tokens_per_step == pytest.approx(7 / 4)


def test_the_longest_n_gram_decides_and_of_equal_ones_the_first() -> None:
    assert Lookup([1, 2, 9, 7, 1, 2, 8, 7, 1, 2], 2, 5).draft(2) == [8, 7]
    assert Lookup([1, 2, 9, 6, 1, 2, 8, 5, 1, 2], 2, 5).draft(2) == [9, 6]
    assert Lookup([1, 2, 3], 2, 5).draft(2) == []


def test_a_file_without_good_answers_is_an_error_of_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small.wiki(tmp_path)
    tokenizer = tmp_path / "tokenizer.json"
    Tokenizer(models.WordLevel({"[UNK]": 0}, "[UNK]")).save(str(tokenizer))
    file = tmp_path / "answers.jsonl"
    refusal = {"question": "Who?", "pages": [], "answer": "No.", "kind": "refusal"}
    sentences = [{"text": "No.", "label": "frame"}]
    file.write_text(json.dumps({**refusal, "sentences": sentences}))
    words = ["lookup", str(file), "--docs", str(tmp_path / "wiki"), "--tokenizer", str(tokenizer)]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit):
        lookup.main()
    assert "answers.jsonl: has no answer of the kind `good`" in capsys.readouterr().err


@pytest.mark.slow
def test_vllm_makes_the_same_drafts(vllm_python: Path) -> None:
    """Its own function, without numba: the CPU build has none to compile it."""
    (file,) = vllm_python.parents[1].glob(
        "lib/*/site-packages/vllm/v1/spec_decode/ngram_proposer.py"
    )
    name = "_find_longest_matched_ngram_and_propose_tokens"
    (node,) = (one for one in ast.parse(file.read_text()).body if getattr(one, "name", "") == name)
    assert isinstance(node, ast.FunctionDef)
    node.decorator_list = []
    scope: dict[str, Any] = {"np": np}
    exec(compile(ast.Module([node], []), str(file), "exec"), scope)
    chance = random.Random(0)
    for _ in range(300):
        text = [chance.randrange(4) for _ in range(chance.randrange(3, 60))]
        theirs = scope[name](np.array(text), 2, 5, 1000, 3).tolist()
        assert Lookup(text, 2, 5).draft(3) == theirs, text
