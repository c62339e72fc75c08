"""The page of a row is found by the text of its context."""

import pytest

from eval.questions.rows import Row
from training.data.locate import Located, locate

PAGES = [
    ("start.md", "# Start\n\nRun **askdocs up** in a terminal. Then [open](http://x) the widget."),
    ("stop.md", "# Stop\n\nPress Ctrl-C in the terminal to stop it, or close the window at once."),
    ("note.md", "All rights are reserved by the authors of this documentation."),
    *((f"{n}.md", "Ask in the forum if nothing of this helps you.") for n in range(4)),
    ("old/stop.md", "Press Ctrl-C in the terminal to stop it, or close the window at once."),
]


def row(context: str, *pages: str) -> Row:
    return Row(1, "How?", "So.", context=context, pages=pages)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (
            row("run askdocs up in a\nterminal then open the widget"),
            Located("located", ("start.md",)),
        ),
        (
            row("Press Ctrl-C in the terminal to stop it."),
            Located("located", ("old/stop.md", "stop.md")),
        ),
        (row("<p>All rights are <b>reserved</b> by the authors"), Located("located", ("note.md",))),
        (row("Ask in the forum if nothing of this helps you."), Located("on many pages")),
        (row("Nobody wrote this sentence into any page of it."), Located("not found")),
        (row(""), Located("no context")),
        (row("anything at all", "given.md"), Located("has a page", ("given.md",))),
    ],
)
def test_a_context_is_found_on_its_page(given: Row, found: Located) -> None:
    assert locate([given], PAGES) == [found]
