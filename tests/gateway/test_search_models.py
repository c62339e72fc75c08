"""The models that find passages: folders in ONNX, endpoints, and the change from one to another."""

import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import AskdocsError
from gateway.settings import GatewaySettings, ModelEntry
from tests.gateway.conftest import page
from wiki.index import embed, missing
from wiki.index.calibration import FAR, NEAR, Fit, of_cosines
from wiki.index.embed import Embedder, Onnx, open_folder
from wiki.index.index import Index, build, writing
from wiki.index.missing import embed_missing
from wiki.search import models, rerank
from wiki.search.config import OFF, SearchSettings
from wiki.search.hits import best_passages
from wiki.search.remote import Endpoint, RemoteEmbedder, RemoteReranker
from wiki.search.rerank import InTime
from wiki.search.search import Search

PAGES = {
    "cake": "# Kitchen\n\n## Baking a cake\n\nFlour, eggs and an oven.\n",
    "car": "# Garage\n\n## Changing a wheel\n\nLift the car with the jack.\n",
    "mail": "# Office\n\n## Sending a letter\n\nPut a stamp on the envelope.\n",
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "index.db"
    build(file, [page(f"{name}.md", text) for name, text in PAGES.items()])
    return file


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model in the layout of sentence-transformers, read in another way."""
    made = tmp_path_factory.mktemp("models") / "other-model"
    (made / "onnx").mkdir(parents=True)
    (made / "onnx" / "model.onnx").symlink_to(embed.weights_file())
    (made / "tokenizer.json").symlink_to(embed.tokenizer_file())
    (made / "1_Pooling").mkdir()
    (made / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    prompts = {"prompts": {"query": "query: ", "document": "passage: "}}
    (made / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    (made / "sentence_bert_config.json").write_text('{"max_seq_length": 128}')
    return made


@pytest.fixture(scope="module")
def other(folder: Path) -> Onnx:
    return open_folder(folder)


def test_a_folder_says_how_its_model_reads(folder: Path, other: Onnx, embedder: Embedder) -> None:
    assert embed.read_layout(folder) == embed.InputFormat(128, "cls", "query: ", "passage: ")
    assert not np.allclose(other.ask("a cake"), other.embed(["a cake"])[0])
    assert np.isclose(np.linalg.norm(other.ask("a cake")), 1)
    mine = open_folder(folder, query_prefix="", passage_prefix="")
    assert np.allclose(mine.ask("a cake"), mine.embed(["a cake"])[0])
    assert len({other.model, mine.model, embedder.model}) == 3


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(AskdocsError, match=r"has no model\.onnx or onnx/model\.onnx"):
        open_folder(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(AskdocsError, match=r"has no tokenizer\.json"):
        open_folder(tmp_path)
    (tmp_path / "tokenizer.json").symlink_to(embed.tokenizer_file())
    with pytest.raises(AskdocsError, match="the embedding model does not run here"):
        open_folder(tmp_path)


def test_the_old_vectors_serve_until_all_pages_have_new_ones(
    file: Path, folder: Path, embedder: Embedder, other: Onnx, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missing, "FEW", 1)
    opened = partial(writing, file)
    embed_missing(opened, embedder, described=models.describe(SearchSettings()))
    described = models.describe(SearchSettings(embedder=str(folder)))

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with closing(Index(file)) as index:
        search = models.open_search(
            index, GatewaySettings(), SearchSettings(embedder=str(folder)), embedder
        )
        with pytest.raises(KeyboardInterrupt):
            embed_missing(opened, other, stop, described)
        assert search.serving() is embedder
        (best, *_) = best_passages(search.find("how do I bake a cake"))
        assert best.page.path == "cake.md"
        assert best.meaning is not None
        assert index.embedded() == (embedder.model, 3)
        with writing(file) as writer:  # a page that comes meanwhile
            writer.put("", page("tea.md", "# Tea\n\n## Making tea\n\nBoil water.\n"), "")
        assert embed_missing(opened, other, described=described) == 3  # what is committed stays
        assert search.serving() is search.embedder
        assert index.embedded() == (other.model, 4)
        (best, *_) = best_passages(search.find("how do I bake a cake"))
        assert best.page.path == "cake.md"
        assert best.meaning is not None
        assert search.fit(other.model) != Fit()  # another spread of cosines
        assert list(index.embedders().stored) == [other.model]
    with writing(file) as writer:
        assert len(writer.missing(embedder.model)) == 4  # the old vectors are gone


def test_words_decide_where_the_old_model_is_gone(
    file: Path, embedder: Embedder, other: Onnx
) -> None:
    gone = {"embedder": "/no/such/folder"}
    embed_missing(partial(writing, file), other, described=gone)
    with closing(Index(file)) as index:
        search = models.open_search(index, GatewaySettings(), SearchSettings(), embedder)
        assert search.serving() is None
        (best, *_) = best_passages(search.find("how do I bake a cake"))
        assert (best.page.path, best.meaning) == ("cake.md", None)


def test_cosines_of_another_model_are_moved_to_those_of_the_bundled_one() -> None:
    fitted = of_cosines(near=0.9, far=0.75)
    moved = fitted.meaning(np.array([0.9, 0.75], np.float32))
    assert np.allclose(moved, [NEAR, FAR], atol=1e-5)


class _Server(ThreadingHTTPServer):
    """An engine's /embeddings and /rerank by the bundled model."""

    def __init__(self, embedder: Embedder) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.embedder = embedder
        self.late = 0.0
        self.broken = False
        self.reply: dict[str, Any] | None = None
        self.asked: list[dict[str, Any]] = []


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append(body)
        time.sleep(self.server.late)
        reply: Any = self.server.reply
        if reply is not None:
            pass
        elif self.server.broken:
            reply = {"data": [], "results": []}
        elif self.path == "/v1/embeddings":
            rows = self.server.embedder.embed(body["input"]).tolist()
            data = [{"index": at, "embedding": row} for at, row in enumerate(rows)]
            reply = {"data": data[::-1]}
        else:
            scores = [len(text) for text in body["documents"]]
            rows = [{"index": at, "relevance_score": score} for at, score in enumerate(scores)]
            reply = {"results": sorted(rows, key=lambda row: -row["relevance_score"])}
        content = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server(embedder: Embedder) -> Iterator[_Server]:
    with _Server(embedder) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield made
        made.shutdown()


def _endpoint(server: _Server) -> Endpoint:
    entry = ModelEntry(url=f"http://127.0.0.1:{server.server_port}/v1", model="m")
    return Endpoint("there", GatewaySettings(models={"there": entry}))


def test_an_endpoint_embeds_with_its_prefixes_and_out_of_order(
    server: _Server, embedder: Embedder
) -> None:
    remote = RemoteEmbedder(_endpoint(server), embed.InputFormat(query_prefix="q: "))
    texts = [f"text {n}" for n in range(40)]
    assert np.allclose(remote.embed(texts), embedder.embed(texts), atol=1e-5)
    assert [len(body["input"]) for body in server.asked] == [32, 8]
    assert np.allclose(remote.ask("a cake"), embedder.embed(["q: a cake"])[0], atol=1e-5)
    server.broken = True
    with pytest.raises(AskdocsError, match="not have one of data for each of 1 texts"):
        remote.ask("another")


def test_words_decide_while_the_endpoint_is_away(
    file: Path, server: _Server, caplog: pytest.LogCaptureFixture
) -> None:
    remote = RemoteEmbedder(_endpoint(server), embed.InputFormat())
    embed_missing(partial(writing, file), remote)
    with closing(Index(file)) as index:
        search = Search(index, remote)
        assert best_passages(search.find("how do I bake a cake"))[0].meaning is not None
        server.broken = True
        found = best_passages(search.find("how do I send a letter"))[0]
        assert (found.page.path, found.meaning) == ("mail.md", None)
    assert "words only" in caplog.text


def test_a_reranker_puts_passages_in_order_and_is_left_out_when_late(
    file: Path, server: _Server, caplog: pytest.LogCaptureFixture
) -> None:
    in_time = InTime(RemoteReranker(_endpoint(server)), 20, 60.0)
    sleeper = _Sleeper()
    with closing(Index(file)) as index:
        plain, search = Search(index, None), Search(index, None, in_time)
        asked = "baking a cake with flour, or sending a letter"
        before = best_passages(plain.find(asked))
        after = best_passages(search.find(asked))
        lengths = [len(text) for text in server.asked[0]["documents"]]
        assert [one.score for one in after] == [one.score for one in before]
        longest = server.asked[0]["documents"][int(np.argmax(lengths))]
        assert after[0].passage.text in longest
        assert search.find(asked)[0].page.path == after[0].page.path
        late = Search(index, None, InTime(sleeper, 20, 0.01))
        assert best_passages(late.find(asked)) == before
        sleeper.wakes.set()
        server.broken = True
        assert best_passages(search.find(asked)) == before
    assert "the reranker is skipped: it took longer than 0.01 s" in caplog.text
    assert "not have one of results" in caplog.text


ASKED = "how do I rename a branch"
TEXTS = [
    "git-branch › Options\nWith no arguments, existing branches are listed.",
    "git-branch › Description\nThe -m option moves the branch to another name, with its reflog.",
    "git-remote › Rename\nRename the remote named <old> to <new>.",
]


@pytest.fixture(scope="module")
def bundled() -> rerank.OnnxReranker:
    opened = rerank.bundled()
    assert opened is not None
    return opened


def test_the_bundled_reranker_knows_which_passage_answers(bundled: rerank.OnnxReranker) -> None:
    scores = list(bundled.scores(ASKED, TEXTS, 60))
    assert scores[1] == max(scores)


def test_the_bundled_reranker_is_small_and_says_what_it_is_made_of() -> None:
    assert rerank.BUNDLED.stat().st_size < 25e6
    notice = rerank.BUNDLED.with_name("NOTICE.md").read_text()
    assert "Apache-2.0" in notice
    assert rerank.SHA256 in notice


def test_another_file_in_its_place_is_not_run(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rerank, "BUNDLED", tmp_path / "model.onnx")
    with closing(Index(file)) as index:
        for content in (None, b"another model"):
            if content:
                rerank.BUNDLED.write_bytes(content)
            search = models.open_search(index, GatewaySettings(), SearchSettings(), None)
            assert best_passages(search.find(ASKED)) == best_passages(
                Search(index, None).find(ASKED)
            )
    assert "passages are not reranked: [Errno 2] No such file" in caplog.text
    assert "is not the expected file" in caplog.text


def test_the_bundled_reranker_moves_passages_and_keeps_pages_and_scores(
    tmp_path: Path, bundled: rerank.OnnxReranker
) -> None:
    pages = [
        page(
            f"{at}.md",
            f"# {text.replace(' › ', chr(10) * 2 + '## ', 1).replace(chr(10), chr(10) * 2)}\n",
        )
        for at, text in enumerate(TEXTS)
    ]
    build(tmp_path / "index.db", pages)
    with closing(Index(tmp_path / "index.db")) as index:
        plain = Search(index, None).find(ASKED)
        moved = Search(index, None, InTime(bundled, 8, 60, beside=10.0)).find(ASKED)
        assert [(hit.page.path, hit.score) for hit in moved] == [
            (hit.page.path, hit.score) for hit in plain
        ]
        before, after = best_passages(plain), best_passages(moved)
        assert [one.score for one in after] == pytest.approx([one.score for one in before])
        assert before[0].page.path != after[0].page.path == "1.md"
        late = Search(index, None, InTime(bundled, 8, 1e-9, beside=10.0))
        assert best_passages(late.find(ASKED)) == before


def test_the_bundled_reranker_is_the_default_and_can_be_switched_off() -> None:
    default = models.open_reranker(SearchSettings(), GatewaySettings())
    assert default is not None
    assert (default.passages, default.decides) == (rerank.BUNDLED_PASSAGES, False)
    assert default.at_once * embed.THREADS <= max(os.cpu_count() or 1, embed.THREADS)
    assert models.open_reranker(SearchSettings(reranker=OFF), GatewaySettings()) is None


def test_one_question_more_than_fit_is_not_reranked() -> None:
    sleeper = _Sleeper()
    reranker = InTime(sleeper, 8, 0.01, at_once=2)
    for _ in range(3):
        assert reranker.order("a question", ["a", "b"], [2.0, 1.0]) is None
    sleeper.wakes.set()
    assert sleeper.asked == 2


@pytest.mark.parametrize(
    ("in_time", "order"),
    [
        ([], None),
        ([1.0], None),
        ([1.0, 3.0], [1, 0, 2, 3]),
        ([1.0, 2.0, 3.0], [2, 1, 0, 3]),
        ([1.0, 2.0, 3.0, 4.0], [3, 2, 1, 0]),
    ],
)
@pytest.mark.parametrize("beside", [None, 1.0])
def test_the_passages_that_a_slow_reranker_reads_in_time_are_put_in_order(
    in_time: list[float], order: list[int] | None, beside: float | None
) -> None:
    limited = InTime(_Slow(in_time), 4, 60, beside)
    assert limited.order("a question", ["a", "b", "c", "d"], [0.0] * 4) == order


def test_the_scores_until_the_time_is_up_count() -> None:
    reranker = _Slow([1.0, 3.0], goes_on=threading.Event())
    limited = InTime(reranker, 4, 2.0)
    assert limited.order("a question", ["a", "b", "c", "d"], [0.0] * 4) == [1, 0, 2, 3]
    reranker.goes_on.set()


def test_the_bundled_reranker_stops_when_the_time_is_up(bundled: rerank.OnnxReranker) -> None:
    assert list(bundled.scores(ASKED, TEXTS, -1)) == []


class _Slow:
    """Scores some texts at once, and the others much later or never."""

    def __init__(self, in_time: Sequence[float], goes_on: threading.Event | None = None) -> None:
        self._in_time = in_time
        self.goes_on = goes_on or threading.Event()
        self._waits = goes_on is not None

    def scores(self, question: str, texts: Sequence[str], seconds: float) -> Iterator[float]:
        yield from self._in_time
        if self._waits:
            self.goes_on.wait(60)
            yield from [9.0] * (len(texts) - len(self._in_time))


class _Sleeper:
    def __init__(self) -> None:
        self.wakes = threading.Event()
        self.asked = 0

    def scores(self, question: str, texts: Sequence[str], seconds: float) -> list[float]:
        self.asked += 1
        self.wakes.wait(60)
        return [0.0] * len(texts)


HUGE = 10**400


@pytest.mark.parametrize(
    "reply",
    [
        {"data": [{"index": [0], "embedding": [1.0]}]},
        {"data": [{"index": True, "embedding": [1.0]}]},
        {"data": [{"index": 0, "embedding": [HUGE]}]},
        {"data": [{"index": 0, "embedding": {"a": 1}}]},
        {"results": [{"index": {}, "relevance_score": 1.0} for _ in range(20)]},
        {"results": [{"index": at, "relevance_score": HUGE} for at in range(20)]},
        {"results": [{"index": at, "relevance_score": [1.0]} for at in range(20)]},
        {"results": [{"index": at} for at in range(20)]},
    ],
)
def test_an_endpoint_that_answers_nonsense_is_named(server: _Server, reply: Any) -> None:
    server.reply = reply
    if "data" in reply:
        with pytest.raises(AskdocsError):
            RemoteEmbedder(_endpoint(server), embed.InputFormat()).ask("a cake")
    else:
        with pytest.raises(AskdocsError):
            RemoteReranker(_endpoint(server)).scores("a cake", ["text"] * 20, 5.0)


def test_questions_are_answered_by_words_whatever_a_model_raises(
    file: Path,
    embedder: Embedder,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    embed_missing(partial(writing, file), embedder)
    asked = "how do I send a letter or bake a cake"

    def broken(*_: object) -> Any:
        raise RuntimeError("the model of ONNX Runtime broke")

    with closing(Index(file)) as index:
        before = best_passages(Search(index, None).find(asked))
        reranker = _Sleeper()
        monkeypatch.setattr(reranker, "scores", broken)
        monkeypatch.setattr(embedder, "ask", broken)
        assert (
            best_passages(Search(index, embedder, InTime(reranker, 20, 5.0)).find(asked)) == before
        )
    assert "words only: the model of ONNX Runtime broke" in caplog.text
    assert "the reranker is skipped: the model of ONNX Runtime broke" in caplog.text
