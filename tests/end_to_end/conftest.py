import shutil
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from tests.end_to_end.running import REPO, Askdocs, up

PAGES = ("getting-started", "security", "keys", "files", "widget", "sdk")
"""Of the project's own docs: all of them keep two cores busy for minutes with their vectors."""


@pytest.fixture(scope="session")
def askdocs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Askdocs]:
    """Some of the project's own docs, asked on the embedded engine. One for all tests that do no
    harm."""
    folder = tmp_path_factory.mktemp("up")
    docs = folder / "wiki"
    docs.mkdir()
    for name in PAGES:
        (page,) = (REPO / "docs").rglob(f"{name}.md")
        shutil.copy(page, docs)
    with up(folder / "home", docs, up_prefill="false") as running:
        yield running


@pytest.fixture
def client(askdocs: Askdocs) -> Iterator[openai.OpenAI]:
    started = askdocs.started
    with openai.OpenAI(
        base_url=started["parts"]["gateway"]["url"], api_key=started["key"], max_retries=0
    ) as client:
        yield client


@pytest.fixture
def wiki(tmp_path: Path) -> Path:
    """A small wiki that is not this project's."""
    folder = tmp_path / "wiki" / "docs"
    folder.mkdir(parents=True)
    (folder / "coffee.md").write_text(
        "# Coffee machine\n\nThe coffee machine stands in the kitchen on floor 3.\n\n"
        "## How do I descale the coffee machine?\n\nPress the blue button for 7 seconds and pour"
        " 40 ml of citric acid into the tank.\n"
    )
    (folder / "travel.md").write_text(
        "# Travel\n\n## How do I book a train?\n\nWrite to the travel desk two days before.\n"
    )
    return folder
