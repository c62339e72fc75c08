"""Real clients of the gateway, set up as the docs say, and the real askdocs that they ask."""

import os
import re
import subprocess
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.clients.environments import Say
from tests.end_to_end.running import REPO, up

WIKI = {
    "tutorials/getting-started.md": "# Getting started\n\n## How do I stop askdocs?\n\n"
    "Press Ctrl-C in the terminal where askdocs runs.\n",
    "coffee.md": "# Coffee machine\n\nThe coffee machine stands in the kitchen on floor 3.\n",
}
ANSWER = "Press Ctrl-C in the terminal where askdocs runs."
QUOTED = re.compile(
    rf"> {re.escape(ANSWER)}\n\n"
    r"\[Getting started › How do I stop askdocs\?\]"
    r"\(http://\S+/getting-started/#how-do-i-stop-askdocs\)"
)
"""The answer as a client gets it in extractive mode: a quotation with its link."""
WRONG = "ask-wrong"
REFUSAL = "API key is not valid"


@dataclass(frozen=True)
class Client:
    """The machine of a user: a home of its own, the key, and the settings of the docs."""

    url: str
    key: str
    engine: str
    site: str
    """With a slash at its end."""
    state: Path
    """The state folder of askdocs."""
    home: Path

    def doc(self, page: str, heading: str, language: str) -> str:
        """The settings or the code in that language under a heading of the docs."""
        (file,) = (REPO / "docs").rglob(f"{page}.md")
        text = file.read_text(encoding="utf-8")
        title = re.search(rf"^(#+) {re.escape(heading)}(?: {{#[\w-]+}})?\n", text, re.M)
        assert title, f"{page}.md has no heading {heading!r}"
        # Up to the next heading of this level or above. Comments of code have one #.
        section = re.split(rf"^##{{1,{len(title[1]) - 1}}} ", text[title.end() :], flags=re.M)[0]
        found = re.search(rf"^( *)```{language}\n(.*?)^\1```", section, re.M | re.S)
        assert found, f"{page}.md has no {language} under {heading!r}"
        code = textwrap.dedent(found[2]).replace("http://127.0.0.1:4000/v1", self.url)
        return code.replace("http://127.0.0.1:8000/", self.site)

    def run(self, *command: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
        """Run it in the home, in an environment without anybody's settings."""
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "ASKDOCS_KEY": self.key,
            **env,
        }
        return subprocess.run(
            command,
            cwd=self.home,
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def written(self) -> int:
        """Tokens that the engine has written so far."""
        metrics = httpx.get(self.engine.removesuffix("/v1") + "/metrics").text
        found = re.search(r"^llamacpp:tokens_predicted_total (\d+)", metrics, re.M)
        assert found, metrics
        return int(found[1])


@pytest.fixture(scope="session")
def served(
    tmp_path_factory: pytest.TempPathFactory, shallow: Path
) -> Iterator[tuple[str, str, str, str, Path]]:
    """With two layers of the small model: coding agents send prompts of thousands of tokens."""
    folder = tmp_path_factory.mktemp("clients")
    for name, text in WIKI.items():
        path = folder / "wiki" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    model = ("--model", str(shallow))
    with up(folder / "home", folder / "wiki", *model, up_answers="quote") as running:
        status = running.status()
        parts = status["parts"]
        urls = [parts[name]["url"] for name in ("gateway", "engine", "site")]
        yield urls[0], status["key"], urls[1], urls[2], folder / "home"


@pytest.fixture
def client(served: tuple[str, str, str, str, Path], tmp_path: Path) -> Client:
    return Client(*served, tmp_path)


@pytest.fixture(scope="session")
def say(request: pytest.FixtureRequest) -> Say:
    """Prints through pytest's capture, so that an install is seen while it runs."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def say(text: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\n» {text}", flush=True)

    return say
