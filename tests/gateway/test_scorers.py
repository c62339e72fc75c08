"""Models that check sentences, at real servers: llama.cpp, and the pooling endpoints of vLLM."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from askdocs.supervision.checks import free_port
from core.errors import AskdocsError, SettingsError
from core.settings import load
from gateway.answering.grounding.excerpt import Excerpt
from gateway.answering.grounding.prompt import render
from gateway.answering.scorers import Endpoint, Judges, _yes
from gateway.settings import GatewaySettings
from gateway.upstream.engines.launch import Launch
from tests.gateway.conftest import page
from tests.vllm_serving import running
from wiki.index.embed import tokenizer_file

PAGE = page("coffee.md", "# Coffee\n\nThe machine stands on floor 3. Descale it every 14 days.")
PREFIX = render([Excerpt(PAGE, PAGE.sections, 1)], "?")[:1]
SENTENCES = ["The machine stands on floor 3.", "The machine plays music."]
PASSAGES = [PAGE.text, PAGE.text]


@pytest.mark.slow
async def test_an_engine_tells_yes_or_no_by_one_token_after_pages_that_it_has_read(
    engine_url: str,
) -> None:
    scorer = Endpoint(engine_url)
    try:
        scores = await scorer.scores(SENTENCES, PASSAGES, PREFIX)
        assert len(scores) == 2
        assert all(0 <= score <= 1 for score in scores)
        assert await scorer.scores(SENTENCES, PASSAGES, PREFIX) == pytest.approx(scores, abs=0.05)
    finally:
        await scorer.close()


@pytest.mark.slow
async def test_a_server_without_such_an_endpoint_is_an_error(engine_url: str) -> None:
    for judges in ("score", "classify"):
        scorer = Endpoint(engine_url, judges=judges)
        with pytest.raises(AskdocsError):
            await scorer.scores(SENTENCES, PASSAGES, PREFIX)
        await scorer.close()


@pytest.fixture(scope="module")
def cross_encoder(vllm_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A vLLM with MiniLM and an untrained head: it shows the formats, and knows nothing."""
    folder = tmp_path_factory.mktemp("cross")
    made = (
        "import sys\n"
        "from transformers import AutoTokenizer, BertForSequenceClassification as Bert\n"
        "Bert.from_pretrained(sys.argv[1], num_labels=1).save_pretrained(sys.argv[2])\n"
        "AutoTokenizer.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[2])\n"
    )
    source = tokenizer_file().parent
    subprocess.run([vllm_python, "-c", made, source, folder], check=True, capture_output=True)
    port = free_port()
    argv = [str(vllm_python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
    argv += ["--served-model-name", "cross", "--host", "127.0.0.1", "--port", str(port)]
    argv += ["--max-model-len", "512", "--enforce-eager", "--dtype", "float32"]
    env = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    env |= {"DO_NOT_TRACK": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    # One process less, as gateway/upstream/engines/vllm.py starts it.
    env |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "OMP_NUM_THREADS": "1"}
    with running(Launch(argv, env), port, folder / "log") as url:
        yield f"{url}/v1"


@pytest.mark.slow
@pytest.mark.parametrize("judges", ["score", "rerank", "classify"])
async def test_vllm_scores_each_sentence_beside_its_passage(
    cross_encoder: str, judges: Judges
) -> None:
    scorer = Endpoint(cross_encoder, judges=judges)
    try:
        scores = await scorer.scores(SENTENCES, PASSAGES, PREFIX)
        assert len(scores) == 2
        assert all(0 <= score <= 1 for score in scores)
        other = await scorer.scores(SENTENCES[::-1], PASSAGES, PREFIX)
        assert other == pytest.approx(scores[::-1], abs=1e-3)
    finally:
        await scorer.close()


def test_only_yes_and_no_count_whatever_their_spelling() -> None:
    assert _yes({" Yes": 0.6, "no": 0.2, "NO.": 0.1, "Maybe": 0.1}) == pytest.approx(0.6 / 0.9)
    assert _yes({"The": 0.9}) == 0.5


def test_a_checker_must_be_a_model_with_an_address(tmp_path: Path) -> None:
    file = tmp_path / "askdocs.toml"
    file.write_text('[gateway]\nchecker = "granite"\n')
    with pytest.raises(
        SettingsError, match=r"'granite' is neither an \.onnx file nor a model with url"
    ):
        load(GatewaySettings, env={}, file=file)
    file.write_text(
        '[gateway]\nchecker = "granite"\n'
        '[gateway.models.granite]\nurl = "http://10.0.0.7:8000/v1"\nthreshold = 0.3\n'
    )
    assert load(GatewaySettings, env={}, file=file).models["granite"].threshold == 0.3
