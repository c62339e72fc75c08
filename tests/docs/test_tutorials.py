"""The commands of tutorials, run in the order of the page."""

import re
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx
import pytest

from askdocs.environments import DATASET, EVAL, trainer
from askdocs.models import curated
from tests import starting
from tests.askdocs.hub import Hub
from tests.askdocs.test_train_slow import RECIPE, sharpened
from tests.clients import environments
from tests.docs.tutorial import ROOT, reuse, steps, terminal
from tests.sources.confluence_server import Written, confluence
from tests.sources.test_git import SECRET, Repository, repository
from tests.starting import shown
from tests.training.test_finetune import base, python
from tests.waiting import until
from tests.widget.stand_in import serve
from tests.widget.test_main import free_port
from wiki.index.index import Index

__all__ = ["base", "python", "repository"]

TUTORIALS = ROOT / "docs" / "tutorials"
INSTALLATION = ("git clone", "cd askdocs")  # see tests/askdocs/test_setup.py
PAGES = (
    "how-to/keys.md",
    "how-to/widget.md",
    "reference/files.md",
    "tutorials/getting-started.md",
)
ADDRESSES = {
    "GATEWAY": "127.0.0.1:4000",
    "WIDGET": "127.0.0.1:8080",
    "SITE": "127.0.0.1:8000",
}


def test_steps_are_the_commands_and_files_of_a_page_with_what_it_shows(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# P\n\n## H\n\n```sh\na \\\n  b\n\nc '{\n}'\n```\n\n```text\nd\n```\n\n1. x\n\n    ```sh\n"
        "    e\n    ```\n\nSave it as `f.py`:\n\n```python\ng\n\nh\n```\n\n"
        "Append this to `i/j.toml`:\n\n```toml\nk\n```\n\n```html\nl\n```\n"
    )
    found = [(step.command, step.shown, step.file, step.appends) for step in steps(page)]
    assert found == [
        ("a \\\n  b", [], "", False),
        ("c '{\n}'", ["d"], "", False),
        ("e", [], "", False),
        ("g\n\nh\n", [], "f.py", False),
        ("k\n", [], "i/j.toml", True),
    ]
    assert {step.heading for step in steps(page)} == {"H"}
    page.write_text("Like this:\n\n```python\na\n```\n")
    with pytest.raises(AssertionError, match="no line names the file of\na"):
        steps(page)


def test_a_command_that_fails_or_prints_something_else_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    for code, why in {
        "```sh\nfalse\n```\n": "false",
        "```sh\necho 1 page\n```\n```text\n2 page\n```\n": "does not print '2 page'",
        "```sh\necho a cd\n```\n```text\na ... c\n```\n": r"does not print 'a \.\.\. c'",
    }.items():
        page.write_text(f"```sh\nexport A=1\n```\n{code}")
        with (
            terminal(tmp_path, {}) as reader,
            pytest.raises(AssertionError, match=why),
        ):
            reader.follow(page)
    page.write_text(
        "Save it as `b`:\n\n```json\n3 s\n```\n\nAppend this to `b`:\n\n```json\n{}\n```\n\n"
        "```sh\nexport A=1\ncd ..\n```\n```sh\necho $A page, 1.5 s; cat */b\n```\n"
        "```text\n1 page, 0.4 s\n4 s\n...\n{...\n```\n"
    )
    (tmp_path / "last").mkdir()
    with terminal(tmp_path / "last", {}) as reader:
        assert reader.follow(page)[-1].strip() == "1 page, 1.5 s\n3 s\n{}"


def ports() -> dict[str, str]:
    return {f"ASKDOCS_UP_{name}_PORT": str(free_port()) for name in ADDRESSES}


def ours(environment: dict[str, str]) -> dict[str, str]:
    """The addresses of the pages, and those that the test has in their place."""
    return {
        address: f"127.0.0.1:{environment[f'ASKDOCS_UP_{name}_PORT']}"
        for name, address in ADDRESSES.items()
    }


@dataclass(frozen=True)
class Running:
    """What a reader has after the quick start."""

    folder: Path
    environment: dict[str, str]

    def follow(self, name: str, *given: str, **instead: str) -> list[str]:
        """Run a page that goes on from there, in a terminal beside the one where askdocs runs."""
        with terminal(self.folder, self.environment) as reader:
            return reader.follow(TUTORIALS / name, ours(self.environment) | instead, given)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The quick start, as it stands there, with a part of askdocs' own documentation: all of it
    keeps two cores busy with embeddings while the other tutorials run."""
    folder, environment = tmp_path_factory.mktemp("quick-start"), ports()
    for name in PAGES:
        (folder / "docs" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "docs" / name, folder / "docs" / name)
    with terminal(folder, environment) as reader:
        reader.follow(TUTORIALS / "getting-started.md", ours(environment), INSTALLATION)
        yield Running(folder, environment)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_quick_start(running: Running) -> None:
    assert (running.folder / ".askdocs" / "key").is_file()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_models(tmp_path: Path) -> None:
    """With the bundled model under another's name, from a hub on this machine; of its answer the
    beginning is enough."""
    model = curated.MODELS[0]
    name = model.repo.split("/")[1].replace("-GGUF", f"-{model.quantisation}.gguf")
    (tmp_path / "docs" / "reference").mkdir(parents=True)
    shutil.copy(ROOT / "docs/reference/files.md", tmp_path / "docs" / "reference")
    with serve(Hub({model.repo: {name: starting.shipped().read_bytes()}}).app) as hub:
        environment = {
            **ports(),
            "ASKDOCS_UP_PREFILL": "false",
            "ASKDOCS_GATEWAY_MAX_TOKENS": "64",
            "HF_ENDPOINT": hub,
            "HF_HUB_CACHE": str(tmp_path / "hub"),
            "HF_TOKEN": "",
        }
        with terminal(tmp_path, environment) as reader:
            reader.follow(TUTORIALS / "models.md", ours(environment))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_training(tmp_path: Path, base: Path) -> None:
    """Two steps on a random model of two layers: the recipe of the page takes 90 minutes. The loss
    chooses the checkpoint; tests/askdocs/test_train_slow.py has the choice by answers."""
    reuse(DATASET, tmp_path)
    reuse(trainer(), tmp_path)
    recipe = RECIPE.format(base=sharpened(base, tmp_path / "base"))
    recipe = recipe.replace("answers = 2", "answers = 0").replace("= 1000", "= 1")
    (tmp_path / "tiny.toml").write_text(f"max_steps = 2\n{recipe}")
    with terminal(tmp_path, {}) as reader:
        reader.follow(TUTORIALS / "training.md", {"smollm2-135m-cpu": "tiny.toml"})
    assert (tmp_path / ".askdocs" / "versions" / "docs@v1" / "adapter").is_dir()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_sdk(running: Running) -> None:
    (running.folder / "client").symlink_to(environments.python("langchain", print).parent)
    (running.folder / "node_modules").symlink_to(environments.node("openai-6", print))
    installed = ("python3 -m venv", "client/bin/pip install", "npm install")
    running.follow("sdk.md", *installed)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_writers_week(running: Running) -> None:
    reuse(DATASET, running.folder)
    question, htmx = "Who won the world cup in Brazil?", {"hx-request": "true"}
    site = f"http://127.0.0.1:{running.environment['ASKDOCS_UP_SITE_PORT']}/"
    url = f"http://127.0.0.1:{running.environment['ASKDOCS_UP_WIDGET_PORT']}"
    with (
        httpx.Client(
            base_url=url,
            headers={"sec-fetch-site": "same-origin"},
            timeout=120,
            follow_redirects=True,
        ) as browser,
        terminal(running.folder, running.environment) as reader,
    ):

        def answer() -> None:
            token = browser.post("/token", data={"page": site}).json()["token"]
            form = {"question": question, "page": site, "token": token}
            asked = browser.post("/asks", data=form, headers=htmx)
            (ask,) = set(re.findall(r"asks/([\w-]+)/events", asked.text))
            browser.get(f"/asks/{ask}/events")
            vote = {"ask": ask, "vote": "down"}
            browser.post("/votes", data=vote, headers=htmx).raise_for_status()
            # The writer, with the link of the page.
            status = reader.run(".venv/bin/askdocs status --secrets")
            (link,) = re.findall(r"^ *review +(\S+)", status, re.M)
            assert browser.get(link).status_code == 200
            until(lambda: question in browser.get("/review").text, 60)
            (line,) = set(re.findall(r'href="[^"]*review/(\d+)"', browser.get("/review").text))
            form = {"version": "0", "question": question, "answer": "", "unanswerable": "on"}
            browser.post(f"/review/{line}", data=form | {"action": "approve"}).raise_for_status()

        acts = {"Wednesday: close the gaps": answer}
        reader.follow(TUTORIALS / "review.md", ours(running.environment), acts=acts)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_evaluation(tmp_path: Path) -> None:
    reuse(DATASET, tmp_path)
    reuse(EVAL, tmp_path)
    environment = {**ports(), "ASKDOCS_UP_PREFILL": "false"}
    with terminal(tmp_path, environment) as reader:
        reader.follow(TUTORIALS / "evaluation.md", ours(environment))
    assert "best-overlap" not in (tmp_path / "first-run" / "report.md").read_text()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_your_wiki(tmp_path: Path) -> None:
    environment = ports()
    pages = {
        "another/coffee.md": "# Coffee\n\n## How do I make coffee?\n\nPress the button.\n",
        "site/index.html": "<html><body><main><h1>Rooms</h1><h2 id=book>How do I book a room?</h2>"
        "<p>Write your name on its door.</p></main></body></html>",
    }
    for name, text in pages.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)

    with terminal(tmp_path, environment) as reader, shown(tmp_path / "site") as site:

        def edit() -> None:
            access = tmp_path / "examples" / "wiki" / "access.md"
            access.write_text(access.read_text().replace("the help desk", "the portal"))
            ask = '.venv/bin/askdocs ask "How do I get access?"'
            until(lambda: "the portal" in reader.run(ask), 60)

        instead = {"path/to/another/wiki": "another", "https://wiki.example.com/": site}
        page = TUTORIALS / "your-wiki.md"
        reader.follow(page, ours(environment) | instead, acts={"4. Edit a page": edit})


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_confluence(tmp_path: Path) -> None:
    environment = {**ports(), "ASKDOCS_SITES_RATE": "100", "ASKDOCS_UP_PREFILL": "false"}
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
        }
        with terminal(tmp_path, environment) as reader:
            page = TUTORIALS / "confluence.md"
            reader.follow(page, ours(environment) | instead, INSTALLATION)
        assert set(wiki.tokens) == {"Bearer NjM2MDk4"}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_git_wiki(tmp_path: Path, repository: Repository) -> None:
    environment = {**ports(), "ASKDOCS_UP_PREFILL": "false"}
    environment["ASKDOCS_SITES_FEED_INTERVAL"] = "0"  # `docs sync` shows the edit, not `up`
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
    with terminal(folder, environment) as reader:
        page = TUTORIALS / "git-wiki.md"
        reader.follow(page, ours(environment) | instead, INSTALLATION, acts)
