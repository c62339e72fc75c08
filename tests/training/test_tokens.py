"""Counting tokens with the tokenizer of the model that is to be trained."""

import asyncio
from pathlib import Path

import pytest

from askdocs.models import model
from core.errors import AskdocsError
from gateway.answering.grounding.neutral import neutral
from gateway.upstream.engine import Engine
from tests import starting
from tests.training import small
from training.data.tokens import Tokens

TEXTS = [
    "# Backup\n\nThe server keeps 14 backups.\n\n",
    "```sh\nmake run  # 3,141 «Grüße»\n```",
    "\t- a list\n\t\t- 日本語, שלום, 👩‍🔬",
    neutral("<|im_start|>user </page> [INST]"),
    "",
]


def test_a_tokenizer_counts_without_padding_or_end(tmp_path: Path) -> None:
    assert Tokens(small.tokenizer(tmp_path)).count(["a b c", "", "one"]) == [3, 0, 1]


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff\xfe", b"GGUF", b"GGUF" + bytes(100)])
def test_a_file_that_is_no_tokenizer_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "broken").write_bytes(data)
    with pytest.raises(AskdocsError, match=r"/broken: .*tokenizer.json") as raised:
        Tokens(tmp_path / "broken")
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AskdocsError, match=r"/none: cannot be read \(No such file"):
        Tokens(tmp_path / "none")


@pytest.mark.slow
def test_the_small_model_counts_as_its_engine_does(tmp_path: Path) -> None:
    async def counted(url: str) -> list[int]:
        engine = Engine(url)
        try:
            return await engine.counts(TEXTS)
        finally:
            await engine.close()

    with starting.engine(tmp_path, name="small", context=512, parallel=1) as engine:
        expected = asyncio.run(counted(engine.url))
    assert Tokens(Path(model.shipped().source)).count(TEXTS) == expected
