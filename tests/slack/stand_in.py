"""Slack, as far as askdocs sees it: its Web API, Events, commands, buttons, dialogs, Socket Mode.

It keeps messages with all their edits, and refuses what Slack refuses: blocks that are too long or
not well formed, unknown tokens and channels, methods that are called too often. The rules are those
of https://docs.slack.dev/reference/block-kit and of the pages of the methods.
"""

import asyncio
import hashlib
import hmac
import itertools
import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from aiohttp import WSMsgType, web
from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models.blocks import Block
from slack_sdk.models.views import View

BOT_TOKEN, APP_TOKEN, SECRET = "xoxb-1", "xapp-1", "s3cret"
TEAM, BOT, USER, OTHER = "T1", "UBOT", "UANNA", "UBEN"
GENERAL, HR, HELP, DM = "C0GENERAL", "C0HR", "C0HELP", "D0ANNA"
CHANNELS = {GENERAL: "general", HR: "hr", HELP: "help"}
LITERAL = {"text", "link"}  # elements of rich text that mean nobody
SCOPES = "app_mentions:read,channels:read,chat:write,commands,groups:read,im:history"


@dataclass
class Message:
    """A message, with what it has been."""

    channel: str
    ts: str
    args: dict[str, Any]
    edits: list[dict[str, Any]] = field(default_factory=list)

    @property
    def now(self) -> dict[str, Any]:
        return self.edits[-1] if self.edits else self.args

    @property
    def thread(self) -> str | None:
        return self.args.get("thread_ts")

    @property
    def words(self) -> str:
        return words(self.now["blocks"])

    @property
    def buttons(self) -> dict[str, dict[str, Any]]:
        return {
            element["action_id"]: element
            for block in self.now["blocks"]
            if block["type"] == "actions"
            for element in block["elements"]
        }


class Refused(Exception):
    """An error that Slack answers with."""


class Slack:
    """The stand-in. `limits` has methods that answer 429, with the seconds of each time."""

    def __init__(self) -> None:
        self.url = ""
        self.messages: dict[tuple[str, str], Message] = {}
        self.calls: dict[str, list[float]] = defaultdict(list)
        self.limits: dict[str, list[int]] = {}
        self.cut: dict[str, list[int]] = {}  # methods at which the connection is cut
        self.down: dict[str, list[int]] = {}  # methods at which something else answers
        self.views: list[dict[str, Any]] = []
        self.whispers: list[dict[str, Any]] = []
        self.scopes = SCOPES
        self.sockets: list[web.WebSocketResponse] = []
        self.acks: dict[str, dict[str, Any]] = {}
        self._numbers = itertools.count(1)

    # What tests do.

    def mention(self, text: str, channel: str = GENERAL, **extra: Any) -> dict[str, Any]:
        """The event of a message with our name in it."""
        return self._event("app_mention", channel, f"<@{BOT}> {text}", extra)

    def written(self, text: str, channel: str = DM, **extra: Any) -> dict[str, Any]:
        """The event of a message."""
        kind = {"channel_type": "im" if channel.startswith("D") else "channel"}
        return self._event("message", channel, text, kind | extra)

    def command(self, text: str, channel: str = GENERAL) -> dict[str, Any]:
        """The form of a /ask."""
        return {
            "command": "/ask",
            "text": text,
            "team_id": TEAM,
            "user_id": USER,
            "channel_id": channel,
            "channel_name": "privategroup",
            "trigger_id": f"trigger-{next(self._numbers)}",
            "response_url": f"{self.url}/respond",
        }

    def press(self, message: Message, action: str, user: str = USER) -> dict[str, Any]:
        """The payload of a press on a button of a message."""
        button = message.buttons[action]
        shown = {**message.now, "ts": message.ts, "user": BOT}
        if message.thread:
            shown["thread_ts"] = message.thread
        return {
            "type": "block_actions",
            "team": {"id": TEAM},
            "user": {"id": user},
            "trigger_id": f"trigger-{next(self._numbers)}",
            "response_url": f"{self.url}/respond",
            "container": {
                "type": "message",
                "message_ts": message.ts,
                "channel_id": message.channel,
            },
            "channel": {"id": message.channel},
            "message": shown,
            "actions": [{**button, "block_id": "b", "action_ts": self._ts()}],
        }

    def submit(self, view: dict[str, Any], reasons: list[str], text: str) -> dict[str, Any]:
        """The payload of a dialog that was sent."""
        options = view["blocks"][0]["element"]["options"]
        chosen = [option for option in options if option["value"] in reasons]
        values = {
            "reasons": {"reasons": {"type": "checkboxes", "selected_options": chosen}},
            "text": {"text": {"type": "plain_text_input", "value": text or None}},
        }
        state = {"state": {"values": values}}
        return {
            "type": "view_submission",
            "team": {"id": TEAM},
            "user": {"id": USER},
            "view": {**view, "id": "V1", **state},
        }

    async def until(self, what: Any, seconds: float = 60) -> None:
        """Wait until a condition holds."""
        async with asyncio.timeout(seconds):
            while not what():  # noqa: ASYNC110  # what is waited for says nothing itself
                await asyncio.sleep(0.01)

    def ours(self, channel: str) -> list[Message]:
        """Our messages in a channel, oldest first."""
        return [one for one in self.messages.values() if one.channel == channel]

    async def ended(self, channel: str = GENERAL, count: int = 1) -> Message:
        """The latest of our messages in a channel, once all have buttons that are no pages."""

        def all_ended() -> bool:
            found = [one for one in self.ours(channel) if one.thread and one.edits]
            ended = [one for one in found if {"up", "retry"} & one.buttons.keys()]
            return len(ended) >= count

        await self.until(all_ended)
        return self.ours(channel)[-1]

    async def socket(self, envelope: dict[str, Any]) -> dict[str, Any]:
        """Send an envelope by Socket Mode; returns its acknowledgement."""
        await self.until(lambda: self.sockets)
        id = f"envelope-{next(self._numbers)}"
        await self.sockets[-1].send_json({"envelope_id": id, **envelope})
        await self.until(lambda: id in self.acks)
        return self.acks[id]

    # What Slack does.

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/api/{method}", self._call)
        app.router.add_post("/respond", self._respond)
        app.router.add_get("/link", self._link)
        return app

    async def _call(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        form = request.content_type != "application/json"
        args = dict(await request.post()) if form else await request.json()
        args = {**request.query, **args}
        self.calls[method].append(time.monotonic())
        if self.down.get(method):
            self.down[method].pop()
            return web.Response(status=502, text="<h1>Bad Gateway</h1>", content_type="text/html")
        if self.cut.get(method):
            self.cut[method].pop()
            assert request.transport
            request.transport.abort()
            return web.Response()
        if waits := self.limits.get(method):
            headers = {"retry-after": str(waits.pop(0))}
            error = {"ok": False, "error": "ratelimited"}
            return web.json_response(error, status=429, headers=headers)
        try:
            token = request.headers.get("authorization", "").removeprefix("Bearer ")
            wanted = APP_TOKEN if method == "apps.connections.open" else BOT_TOKEN
            if token != wanted:
                raise Refused("invalid_auth")
            told = getattr(self, "_" + method.replace(".", "_"))(args)
        except Refused as error:
            return web.json_response({"ok": False, "error": str(error)})
        return web.json_response({"ok": True, **told}, headers={"x-oauth-scopes": self.scopes})

    def _auth_test(self, args: dict[str, Any]) -> dict[str, Any]:
        return {
            "url": "https://team.slack.com/",
            "team": "Team",
            "team_id": TEAM,
            "user": "askdocs",
            "user_id": BOT,
            "bot_id": "B1",
        }

    def _chat_postMessage(self, args: dict[str, Any]) -> dict[str, Any]:
        channel = self._channel(args["channel"])
        checked(args)
        ts = self._ts()
        self.messages[channel, ts] = Message(channel, ts, args)
        return {"channel": channel, "ts": ts}

    def _chat_update(self, args: dict[str, Any]) -> dict[str, Any]:
        message = self.messages.get((args["channel"], args["ts"]))
        if message is None:
            raise Refused("message_not_found")
        checked(args)
        message.edits.append(args)
        return {"channel": message.channel, "ts": message.ts}

    def _chat_getPermalink(self, args: dict[str, Any]) -> dict[str, Any]:
        address = f"https://team.slack.com/archives/{args['channel']}/p{args['message_ts']}"
        return {"permalink": address}

    def _conversations_info(self, args: dict[str, Any]) -> dict[str, Any]:
        if args["channel"] not in CHANNELS:
            raise Refused("channel_not_found")
        name = CHANNELS[args["channel"]]
        return {"channel": {"id": args["channel"], "name": name, "is_member": True}}

    def _views_open(self, args: dict[str, Any]) -> dict[str, Any]:
        view = args["view"]
        view = json.loads(view) if isinstance(view, str) else view
        parsed = View(**view)
        parsed.validate_json()
        assert parsed.to_dict() == view
        self.views.append(view)
        return {"view": view}

    def _apps_connections_open(self, args: dict[str, Any]) -> dict[str, Any]:
        return {"url": self.url.replace("http", "ws", 1) + "/link"}

    async def _respond(self, request: web.Request) -> web.Response:
        told = await request.json()
        checked(told)
        self.whispers.append(told)
        return web.Response(text="ok")

    async def _link(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"type": "hello", "num_connections": 1})
        self.sockets.append(socket)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                told = json.loads(message.data)
                self.acks[told["envelope_id"]] = told.get("payload") or {}
        return socket

    def _channel(self, name: str) -> str:
        if name.startswith("U"):
            return f"D0{name[1:]}"
        if name.startswith("D") or name in CHANNELS:
            return name
        for id, known in CHANNELS.items():
            if name == known:
                return id
        raise Refused("channel_not_found")

    def _event(self, kind: str, channel: str, text: str, extra: dict[str, Any]) -> dict[str, Any]:
        ts = self._ts()
        event = {"type": kind, "user": USER, "text": text, "channel": channel, "ts": ts}
        return {
            "type": "event_callback",
            "team_id": TEAM,
            "api_app_id": "A1",
            "event": {**event, **extra},
            "event_id": f"Ev{next(self._numbers)}",
            "event_time": int(time.time()),
            "authorizations": [{"team_id": TEAM, "user_id": BOT, "is_bot": True}],
        }

    def _ts(self) -> str:
        return f"1700000000.{next(self._numbers):06}"


def signed(body: str, secret: str = SECRET, age: float = 0) -> dict[str, str]:
    """https://docs.slack.dev/authentication/verifying-requests-from-slack"""
    at = str(int(time.time() - age))
    digest = hmac.new(secret.encode(), f"v0:{at}:{body}".encode(), hashlib.sha256).hexdigest()
    return {"x-slack-request-timestamp": at, "x-slack-signature": f"v0={digest}"}


def as_form(payload: dict[str, Any]) -> str:
    """How Slack posts presses and dialogs."""
    return urlencode({"payload": json.dumps(payload)})


def checked(args: dict[str, Any]) -> None:
    """Raises Refused where Slack would refuse text and blocks."""
    blocks = args.get("blocks") or []
    if not args.get("text") and not blocks:
        raise Refused("no_text")
    if len(args.get("text") or "") > 40_000:
        raise Refused("msg_too_long")
    # A mention in the text pings, whatever the blocks are.
    assert "<" not in (args.get("text") or "").replace("&lt;", "")
    if len(blocks) > 50:
        raise Refused("invalid_blocks")
    if len(json.dumps(blocks, ensure_ascii=False)) > 13_000:
        raise Refused("msg_blocks_too_long")
    if not all(_is_well_formed(block) for block in blocks):
        raise Refused("invalid_blocks")


def _is_well_formed(block: dict[str, Any]) -> bool:
    """By the SDK's own rules (lengths and values of elements), and by some that it leaves out."""
    parsed = Block.parse(block)
    try:
        parsed.validate_json()  # type: ignore[union-attr]
    except SlackObjectFormationError:
        return False
    known = parsed is not None and parsed.to_dict() == block
    ends = list(leaves(block))
    actions = [end["action_id"] for end in ends if "action_id" in end]
    texts = [end["text"] for end in ends if "text" in end]
    said = [text["text"] if isinstance(text, dict) else text for text in texts]
    return known and bool(ends) and all(said) and len(actions) == len(set(actions))


def leaves(block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What stands at the ends of a block."""
    if "elements" not in block:
        yield block
    for element in block.get("elements", ()):
        yield from leaves(element)


def words(blocks: list[dict[str, Any]]) -> str:
    """What people read in blocks."""
    found = []
    for block in blocks:
        for leaf in leaves(block):
            text = leaf.get("text", "")
            found.append(text["text"] if isinstance(text, dict) else text)
    return "".join(found)


@asynccontextmanager
async def running(slack: Slack) -> AsyncIterator[Slack]:
    """Serve the stand-in on a port of its own."""
    runner = web.AppRunner(slack.app(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    slack.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield slack
    finally:
        for socket in slack.sockets:
            await socket.close()
        await runner.cleanup()
