"""The examples of docs/tutorials/sdk.md, as they stand there, with the official SDKs."""

import json
import sys
from pathlib import Path

import pytest

from tests.clients import environments
from tests.clients.conftest import ANSWER, QUOTED, Client
from tests.clients.environments import Say

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]

PAGE = "/tutorials/getting-started/#how-do-i-stop-askdocs"


def python(client: Client, heading: str) -> list[str]:
    """The lines that an example prints."""
    done = client.run(sys.executable, "-c", client.doc("sdk", heading, "python"))
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_sources_name_the_part_of_the_text_that_rests_on_them(client: Client) -> None:
    lines = "\n".join(python(client, "Read the sources of an answer in Python"))
    assert lines.startswith(f"“> {ANSWER}\n")
    assert "” Getting started: http://" in lines
    assert lines.endswith(PAGE)


def test_a_stream_ends_with_its_sources(client: Client) -> None:
    *answer, source = python(client, "Read the sources of a streamed answer")
    assert QUOTED.fullmatch("\n".join(answer).strip())
    assert source.endswith(PAGE)


def test_a_sure_answer_and_a_refusal_are_told_apart(client: Client) -> None:
    heading = "Detect cautions and refusals {#sure}"
    assert python(client, heading) == [f"sure {ANSWER}", "refused"]


def test_the_page_of_the_reader_answers_what_the_question_leaves_open(client: Client) -> None:
    assert f"> {ANSWER}" in python(client, "Send the page that the reader is on {#page-url}")


def test_grounding_off_leaves_the_model_alone(client: Client) -> None:
    assert python(client, "Turn grounding off") == ["False"]


def test_curl_shows_the_sources(client: Client) -> None:
    code = client.doc("sdk", "Read the sources with curl", "sh")
    done = client.run("bash", "-c", code)
    assert done.returncode == 0, done.stderr
    reply = json.loads(done.stdout)
    cited = reply["choices"][0]["message"]["annotations"][0]["url_citation"]
    assert cited["url"].endswith(PAGE)
    assert set(reply["askdocs"]) >= {"confidence", "caution", "refused", "sources", "pages"}


def test_node_reads_the_sources(client: Client, say: Say) -> None:
    (client.home / "node_modules").symlink_to(environments.node("openai-6", say))
    script: Path = client.home / "ask.mjs"
    script.write_text(client.doc("sdk", "Read the sources with Node or TypeScript", "js"))
    done = client.run("node", script.name)
    assert done.returncode == 0, done.stderr
    source, refused = done.stdout.splitlines()
    assert source.endswith(PAGE)
    assert refused == "false"
