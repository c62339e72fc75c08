"""What new workers get at SIGHUP, from a process as the gateway starts it."""

from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pytest
from uvicorn.config import STARTUP_FAILURE

from core.settings import load
from gateway.runtime import reload, server
from gateway.settings import GatewaySettings

pytestmark = pytest.mark.slow

GIVEN = {"ASKDOCS_GATEWAY_PAGE_BUDGET": "888"}
spawn = get_context("spawn")


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GatewaySettings:
    """The settings that a gateway has started with."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASKDOCS_GATEWAY_PAGE_BUDGET", "888")
    return reload.complete(load(GatewaySettings))


def renewed(before: GatewaySettings) -> tuple[int | None, dict[str, str]]:
    """The exit code, and the environment of new workers."""
    told, sender = spawn.Pipe(duplex=False)
    renew = partial(reload.renew, GIVEN, before)
    process = spawn.Process(target=server._prepare, args=(renew, sender))
    process.start()
    sender.close()
    try:
        fresh: dict[str, str] = told.recv()
    except EOFError:
        fresh = {}
    process.join()
    return process.exitcode, fresh


def test_new_workers_have_the_settings_of_now_and_the_same_key(started: GatewaySettings) -> None:
    Path("askdocs.toml").write_text("[gateway]\nmax_tokens = 99\npage_budget = 777\n")
    code, fresh = renewed(started)
    assert code == 0
    assert fresh["ASKDOCS_GATEWAY_MAX_TOKENS"] == "99"
    assert fresh["ASKDOCS_GATEWAY_PAGE_BUDGET"] == "888"  # the environment goes before the file
    assert started.key is not None
    assert fresh["ASKDOCS_GATEWAY_KEY"] == started.key.get_secret_value()


@pytest.mark.parametrize("line", ["max_token = 9", "port = 4444", "workers = 3"])
def test_settings_that_are_wrong_or_need_a_start_are_refused(
    started: GatewaySettings, line: str, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("askdocs.toml").write_text(f"[gateway]\n{line}\n")
    assert renewed(started) == (STARTUP_FAILURE, {})
    assert line.split()[0] in capfd.readouterr().err
