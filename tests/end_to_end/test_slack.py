"""Slack, as a stand-in has it, before the real gateway and the project's own docs."""

import json
from pathlib import Path

import httpx
import pytest

from core.tasks import Tasks
from tests.end_to_end.running import Askdocs
from tests.slack.stand_in import BOT_TOKEN, GENERAL, SECRET, Slack, running, signed
from widget.settings import WidgetSettings
from widget.slack import web
from widget.slack.running import parts
from widget.slack.settings import SlackSettings

pytestmark = pytest.mark.slow


async def test_a_mention_is_answered_from_the_wiki_with_its_section_as_a_button(
    askdocs: Askdocs, tmp_path: Path
) -> None:
    started = askdocs.started
    widget = WidgetSettings(
        gateway_url=started["parts"]["gateway"]["url"], gateway_key=started["key"]
    )
    async with running(Slack()) as slack:
        settings = SlackSettings(
            bot_token=BOT_TOKEN, signing_secret=SECRET, api_url=f"{slack.url}/api/"
        )
        tasks = Tasks()
        async with (
            parts(settings, widget, None, tmp_path, print, tasks) as app,
            httpx.AsyncClient(
                transport=httpx.ASGITransport(web.create_app(app, tasks)), base_url="http://askdocs"
            ) as client,
        ):
            for text in ("How do I stop askdocs?", "What is the capital of France?"):
                body = json.dumps(slack.mention(text))
                headers = {**signed(body), "content-type": "application/json"}
                await client.post(web.PATH, content=body, headers=headers)
            await slack.until(
                lambda: sum("up" in one.buttons for one in slack.ours(GENERAL)) == 2, seconds=120
            )
    answered, refused = slack.ours(GENERAL)
    urls = [one["url"] for name, one in answered.buttons.items() if name.startswith("open-")]
    assert all(url.startswith(started["parts"]["site"]["url"]) for url in urls)
    assert any(url.endswith("#stopping-askdocs") for url in urls), urls
    assert "[1]" in answered.words
    assert refused.words.startswith("Not in the docs")
