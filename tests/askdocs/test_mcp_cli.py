"""What `askdocs mcp` says before it serves; tests/gateway/test_mcp.py has it at work."""

from pathlib import Path

import pytest

from askdocs.commands.mcp import Forward, mcp
from core.errors import AskdocsError
from tests.starting import shown


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASKDOCS_KEY", raising=False)


def test_a_gateway_elsewhere_is_not_told_the_key_of_this_one(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("ask-secret")
    with pytest.raises(AskdocsError, match=r"ASKDOCS_KEY is not set: https://x\.example/v1 asks"):
        mcp(url="https://x.example/v1", home_dir=tmp_path)


def test_a_folder_without_askdocs_stays_without(tmp_path: Path) -> None:
    with pytest.raises(
        AskdocsError, match="this folder has no state of askdocs: name the state folder with --home"
    ):
        mcp(home_dir=tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


async def test_an_address_of_something_else_is_reported_as_such(tmp_path: Path) -> None:
    with shown(tmp_path) as other, pytest.raises(AskdocsError, match="is not a gateway of askdocs"):
        await Forward(other, "ask-x").ask(lambda session: session.list_tools())
