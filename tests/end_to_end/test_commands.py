"""`askdocs ask`, `status` and `doctor` against a running askdocs."""

import json

import httpx
import pytest
from mcp import Client, StdioServerParameters

from tests.end_to_end.running import COMMAND, Askdocs

pytestmark = pytest.mark.slow


def test_ask_prints_answer_source_and_quote(askdocs: Askdocs) -> None:
    done = askdocs.cli("ask", "How do I stop askdocs?")
    assert done.returncode == 0, done.stderr
    assert "Ctrl-C" in done.stdout
    assert "#stopping-askdocs" in done.stdout
    assert "│" not in done.stdout  # a passage below its quotation
    assert "Quoted from the wiki, " in done.stderr


def test_ask_json_is_for_scripts(askdocs: Askdocs) -> None:
    done = askdocs.cli("ask", "How do I stop askdocs?", "--json")
    answered = json.loads(done.stdout)
    assert "Ctrl-C" in answered["answer"]
    assert answered["refused"] is False
    assert answered["sources"][0]["url"].startswith(askdocs.started["parts"]["site"]["url"])


def test_ask_from_a_page_reads_that_page(askdocs: Askdocs) -> None:
    page = askdocs.started["parts"]["site"]["url"] + "widget/"
    done = askdocs.cli("ask", "How do I configure this?", "--page", page, "--json")
    answered = json.loads(done.stdout)
    urls = [source["url"] for source in answered["sources"]] or [answered["pages"][0]["url"]]
    assert urls[0].startswith(page)


def test_the_site_has_the_wiki_as_text(askdocs: Askdocs) -> None:
    site = askdocs.started["parts"]["site"]["url"]
    reply = httpx.get(f"{site}llms.txt")
    assert reply.headers["content-type"].startswith("text/plain")
    assert f"- [Requirements, ports and files]({site}files/): " in reply.text
    assert "<page " in httpx.get(f"{site}llms-full.txt").text


async def test_an_agent_on_this_machine_needs_no_settings(askdocs: Askdocs) -> None:
    command = StdioServerParameters(
        command=str(COMMAND), args=["mcp", "--home", str(askdocs.home.absolute())], cwd="/"
    )
    async with Client(command) as agent:
        answered = await agent.call_tool("ask_docs", {"question": "How do I stop askdocs?"})
    assert "Ctrl-C" in answered.structured_content["answer"]


def test_the_cited_heading_exists_on_the_site(askdocs: Askdocs) -> None:
    done = askdocs.cli("ask", "Where are the logs?", "--json")
    url, _, anchor = json.loads(done.stdout)["sources"][0]["url"].partition("#")
    assert f'id="{anchor}"' in httpx.get(url).text


def test_status_names_addresses_processes_health_and_key(askdocs: Askdocs) -> None:
    status = askdocs.status()
    assert status["ready"] is True
    assert status["pid"] == askdocs.process.pid
    assert status["key"].startswith("ask-")
    assert set(status["parts"]) == {"gateway", "widget", "site", "engine"}
    assert all(part["healthy"] and part["pid"] for part in status["parts"].values())


def test_status_tells_how_much_of_prompts_was_cached(askdocs: Askdocs) -> None:
    # What is quoted is found without the engine: the model is asked alone.
    body = {
        "model": "base",
        "max_tokens": 4,
        "messages": [{"role": "user", "content": "Count to a hundred. " * 20}],
    }
    running = askdocs.status()
    for _ in range(2):
        httpx.post(
            f"{running['parts']['gateway']['url']}/chat/completions",
            json=body,
            headers={"authorization": f"Bearer {running['key']}"},
            timeout=60,
        ).raise_for_status()
    cache = askdocs.status()["prefix_cache"]
    assert cache["requests"]["prompt_tokens"] > cache["requests"]["cached_tokens"] > 0
    assert 0 < cache["engines"]["base"]["hit_rate"] < 1
    assert "  cached    requests " in askdocs.cli("status").stdout


def test_doctor_finds_a_running_askdocs_well(askdocs: Askdocs) -> None:
    done = askdocs.cli("doctor", "--json")
    checks = json.loads(done.stdout)
    assert {"machine", "memory", "disk", "index"} <= {check["name"] for check in checks}


def test_a_second_up_in_the_same_home_is_one_clear_line(askdocs: Askdocs) -> None:
    done = askdocs.cli(
        *("up", "--docs", "docs", "--gateway-port", "1", "--widget-port", "2", "--site-port", "3")
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert f"already runs in {askdocs.home} (process {askdocs.process.pid})" in done.stderr
