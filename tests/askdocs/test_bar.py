"""How far a long piece of work is, in the terminal and without one."""

import io
import itertools
import re

import pytest
from rich.console import Console

from askdocs.terminal import bar as bars
from askdocs.terminal.bar import Bar


def shown(monkeypatch: pytest.MonkeyPatch, is_terminal: bool) -> str:
    into = io.StringIO()
    clock = itertools.count().__next__  # a second goes by whenever it is looked at
    console = Console(file=into, force_terminal=is_terminal, width=160, get_time=clock)
    monkeypatch.setattr(bars, "err", console)
    monkeypatch.setattr(bars, "PATIENCE", 0.0)
    with Bar() as bar:
        for done in range(4):
            bar.show("embedding pages", done, 100)
    return into.getvalue()


def test_a_terminal_has_the_step_and_how_long_it_will_take(monkeypatch: pytest.MonkeyPatch) -> None:
    assert re.search(r"embedding pages .*3/100.* \S*\d:\d\d:\d\d", shown(monkeypatch, True))


def test_without_a_terminal_there_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, False) == ""
    monkeypatch.setattr(bars, "TELL", 0.0)
    assert shown(monkeypatch, False).splitlines()[-1] == "embedding pages: 3 of 100"
