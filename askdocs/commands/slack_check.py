"""Checks that `askdocs slack` can work: tokens, scopes, channels and the gateway."""

from collections.abc import AsyncIterator

import aiohttp
import httpx
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from askdocs.supervision.checks import Check
from core.errors import AskdocsError
from core.settings import load
from widget.settings import WidgetSettings
from widget.slack.manifest import OF_PEOPLE, SCOPES
from widget.slack.replies import refusal
from widget.slack.running import TIMEOUT, bot_client, socket_address, workspace
from widget.slack.settings import SlackSettings


async def examine(settings: SlackSettings, widget: WidgetSettings, http: bool) -> list[Check]:
    """Every finding, good or bad."""
    async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
        checks = [check async for check in _slack(settings, session, http)]
    checks += [check async for check in _gateway(settings, widget)]
    return checks


async def _slack(
    settings: SlackSettings, session: aiohttp.ClientSession, http: bool
) -> AsyncIterator[Check]:
    try:
        client = bot_client(settings, session)
        us = await workspace(client)
    except AskdocsError as error:
        yield _failed("bot token", error)
        return
    yield Check("bot token", True, f"{us.team}, as @{us.bot}")
    # Whose groups are known by an e-mail address, that must be asked for.
    wanted = (*SCOPES, *(OF_PEOPLE if load(WidgetSettings).groups_file else ()))
    missing = sorted(set(wanted) - us.scopes)
    yield Check(
        "scopes",
        not missing,
        f"{', '.join(missing)} missing" if missing else f"{len(wanted)} of {len(wanted)}",
        "add them on the app's OAuth & Permissions, and install it again" if missing else "",
    )
    if http:
        there = bool(settings.signing_secret)
        yield Check(
            "signing secret",
            there,
            "is set" if there else "is not set",
            "" if there else "set ASKDOCS_SLACK_SIGNING_SECRET (the app's Basic Information)",
        )
    else:
        try:
            await socket_address(client, settings)
            yield Check("app token", True, "Socket Mode connects")
        except AskdocsError as error:
            yield _failed("app token", error)
    if settings.humans and not settings.group:
        yield await _humans(client, settings.humans)


async def _humans(client: AsyncWebClient, humans: str) -> Check:
    """Only a channel given by its id can be looked up without reading the list of all."""
    fix = "invite the app there (/invite), and give the channel's id as `humans`"
    try:
        reply = await client.conversations_info(channel=humans)
    except SlackApiError as error:
        if not humans.startswith(("C", "G")) or not humans.isupper():
            return Check("humans", True, f"#{humans}, by name: not looked up")
        return Check("humans", False, f"{humans}: Slack says {refusal(error)!r}", fix)
    channel = reply["channel"]
    member = bool(channel.get("is_member"))
    what = "the app is a member" if member else "the app is not a member"
    return Check("humans", member, f"#{channel.get('name')}, {what}", "" if member else fix)


async def _gateway(settings: SlackSettings, widget: WidgetSettings) -> AsyncIterator[Check]:
    url = widget.gateway_url.rstrip("/")
    key = widget.gateway_key.get_secret_value() if widget.gateway_key else ""
    try:
        async with httpx.AsyncClient(timeout=10) as client:
            reply = await client.get(f"{url}/models", headers={"authorization": f"Bearer {key}"})
        known = {model["id"] for model in reply.raise_for_status().json()["data"]}
    except httpx.HTTPStatusError as error:
        problem = f"{url} says {error.response.status_code}"
        yield Check("gateway", False, problem, "set ASKDOCS_WIDGET_GATEWAY_KEY to a key of it")
        return
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        problem = f"{url} does not answer ({error})"
        yield Check("gateway", False, problem, "start it, or set gateway_url of [widget]")
        return
    yield Check("gateway", True, f"{url} answers")
    for alias in dict.fromkeys((settings.model, *settings.channels.values())):
        there = alias in known
        fix = f"choose one of {', '.join(sorted(known)) or 'none'}, or let the key use it"
        yield Check(
            "alias", there, alias if there else f"{alias} is not known", "" if there else fix
        )


def _failed(name: str, error: AskdocsError) -> Check:
    text, _, fix = str(error).rpartition(": ")
    return Check(name, False, text, fix)
