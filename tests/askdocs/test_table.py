"""What others wrote, in the terminal."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from askdocs import cli
from askdocs.terminal import table


def test_what_people_wrote_does_not_command_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    table.show(
        ["question", "asked"], [["\x1b[2J\x9b1mWhy?\a", "1"], ["How is it?", "12"]], numbers=1
    )
    assert capsys.readouterr().out.splitlines() == [
        "question    asked",
        "[2J1mWhy?       1",
        "How is it?     12",
    ]


def test_an_answer_does_not_command_the_terminal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(
        "askdocs.supervision.status.read", lambda place: SimpleNamespace(gateway="http://x/v1")
    )
    said = [("text", "The sky \x1b]52;c;cm0=\x07"), ("text", "is\x1b[2J blue.\n")]
    monkeypatch.setattr("askdocs.clients.question.ask", lambda *asked: iter(said))
    done = CliRunner().invoke(cli.app, ["ask", "--home", str(tmp_path), "How is the sky?"])
    assert done.output == "The sky ]52;c;cm0=is[2J blue.\n"
