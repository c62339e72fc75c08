"""Pieces of `askdocs up` that need nothing started."""

from pathlib import Path

import pytest

from askdocs.clients import question as client
from askdocs.commands.up import _banner
from askdocs.state.home import Home
from askdocs.supervision import status
from askdocs.supervision.settings import UpSettings
from askdocs.supervision.up import rotate
from core.settings import load
from gateway.telemetry.access_log import AccessLog, AccessLogEntry
from tests.gateway.conftest import page
from tests.waiting import until
from wiki.index.writer import writing


def test_an_access_log_that_has_grown_is_begun_again_and_no_line_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = AccessLog(str(path))
    for number in range(20):
        log.write(
            AccessLogEntry(request_id=str(number), method="GET", path="/", status=200, duration=0.1)
        )
        if number == 10:
            until(lambda: path.stat().st_size >= 1000)
            rotate(path, largest=1000)
    log.close()
    old, new = (tmp_path / "access.log.1").read_text(), path.read_text()
    lines = (old + new).splitlines()
    assert len(lines) == 20
    assert new
    rotate(path, largest=10**9)
    assert path.read_text() == new


def test_a_log_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    rotate(tmp_path / "nothing.log", largest=0)


def test_the_banner_offers_a_model_for_the_same_wiki_and_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = status.Running(
        pid=1,
        started="",
        gateway="http://127.0.0.1:4000/v1",
        widget="http://127.0.0.1:8080",
        site="http://127.0.0.1:8000/",
        engine="llama.cpp",
        engine_url="",
        model="SmolLM2-135M-Instruct",
        docs="my wiki",
        page_budget=900,
        processes={},
        versions="gguf",
        ready=True,
    )
    place = Home(tmp_path / "home")
    settings = load(UpSettings, env={}, docs="my wiki", site_port=8100)
    _banner(settings, place, state, client.Answered(question="Why?"), 3.0)
    again = f" up --docs 'my wiki' --site-port 8100 --home {place.root} --model "
    shown = capsys.readouterr().out.replace("\n", "")
    assert again in shown
    assert "meaning" not in shown  # there is no index
    place.make()
    with writing(place.index) as writer:
        writer.put("wiki", page("a.md", "# A\n\nText."), "1", ())
    _banner(load(UpSettings, env={}), place, state, client.Answered(question="Why?"), 3.0)
    shown = capsys.readouterr().out
    assert " --docs " not in shown
    assert "Indexing meaning: 0 of 1 pages. Until then search uses words only." in shown
