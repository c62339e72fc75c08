"""The commands of tutorials, run in the order of the page."""

import re
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest

from gateway.knowledge.search.index import Index
from tests.docs.tutorial import ROOT, Tutorial, steps
from tests.sources.confluence_server import Written, confluence
from tests.sources.test_git import SECRET, Repository, repository
from tests.waiting import until
from tests.widget.test_main import free_port

__all__ = ["repository"]

TUTORIALS = ROOT / "docs" / "tutorials"
INSTALLATION = ("git clone", "cd askdocs", "make setup")  # see tests/askdocs/test_setup.py


def test_steps_are_the_commands_of_a_page_with_what_it_shows(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```sh\na \\\n  b\n\nc\n```\n\n```text\nd\n```\n\n1. x\n\n    ```sh\n    e\n    ```\n"
    )
    assert [(step.command, step.shown) for step in steps(page)] == [
        ("a \\\n  b", []), ("c", ["d"]), ("e", []),
    ]  # fmt: skip


def test_a_command_that_fails_or_prints_something_else_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    for number, (code, why) in enumerate(
        {
            "```sh\nfalse\n```\n": "false",
            "```sh\necho 1 page\n```\n```text\n2 page\n```\n": "does not print '2 page'",
        }.items()
    ):
        page.write_text(f"```sh\nexport A=1\n```\n{code}")
        folder = tmp_path / str(number)
        folder.mkdir()
        with pytest.raises(AssertionError, match=why):
            Tutorial(folder, {}).run(page, {})
    page.write_text(
        "```sh\nexport A=1\ncd ..\n```\n```sh\necho $A page, 1.5 s\n```\n"
        "```text\n1 page, 0.4 s\n```\n"
    )
    (tmp_path / "last").mkdir()
    assert Tutorial(tmp_path / "last", {}).run(page, {})[-1].strip() == "1 page, 1.5 s"


def ports() -> dict[str, str]:
    return {f"ASKDOCS_UP_{name}_PORT": str(free_port()) for name in ("GATEWAY", "WIDGET", "SITE")}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_confluence(tmp_path: Path) -> None:
    environment = {**ports(), "ASKDOCS_SITES_RATE": "100", "ASKDOCS_UP_WARM": "false"}
    with confluence(False) as wiki:
        wiki.pages = {
            "98401": Written(
                "Travel",
                "<p>How trips are booked and paid.</p><h2>How do I book a train?</h2>"
                "<p>Write to the travel desk two days before. Say where you go and when you"
                " come back.</p>",
            ),
            "98402": Written("Coffee", "<h2>How do I make coffee?</h2><p>Press the button.</p>"),
            "98403": Written(
                "Salaries",
                "<h2>When is the bonus paid?</h2><p>It is paid with the April salary.</p>",
                readers=("hr",),
            ),
        }
        instead = {
            "https://wiki.example.com": wiki.url,
            "wiki.example.com": wiki.url.split("/")[2],
            "127.0.0.1:8080": f"127.0.0.1:{environment['ASKDOCS_UP_WIDGET_PORT']}",
        }
        Tutorial(tmp_path, instead, INSTALLATION).run(TUTORIALS / "confluence.md", environment)
        assert set(wiki.tokens) == {"Bearer NjM2MDk4"}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_git_wiki(tmp_path: Path, repository: Repository) -> None:
    environment = {**ports(), "ASKDOCS_UP_WARM": "false"}
    text = (
        "# Deploy\n\n## How do I roll back a release?\n\n"
        "Run release rollback with the number of the release before.\n"
    )
    repository.commit({"Home.md": "# Home\n\nThe wiki of the app.\n", "Deploy.md": text})
    repository.secret = SECRET
    [host] = re.findall("//(.*)/", repository.url)
    instead = {
        "https://github.com": f"http://{host}",
        "github.com ": f"{host} ",
        "github_pat_11A": SECRET,
        "127.0.0.1:8080": f"127.0.0.1:{environment['ASKDOCS_UP_WIDGET_PORT']}",
    }

    folder = tmp_path / "run"
    folder.mkdir()
    syncs: list[datetime | None] = []

    def last_sync() -> datetime | None:
        with closing(Index(folder / ".askdocs" / "index.db")) as index:
            return index.sources()[0].synced

    def edit() -> None:
        until(lambda: last_sync() != syncs[0], 300)  # askdocs up syncs once after its start
        repository.commit({"Deploy.md": text.replace("rollback", "undo")})

    acts = {
        "5. Start askdocs on the wiki": lambda: syncs.append(last_sync()),
        "6. Edit a page": edit,
    }
    tutorial = Tutorial(folder, instead, INSTALLATION, acts)
    tutorial.run(TUTORIALS / "git-wiki.md", environment)
