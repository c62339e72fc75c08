"""`askdocs connect`: configure an editor or agent with its own key, and test the connection."""

import dataclasses
import itertools
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from askdocs.clients.editors import CLIENTS, Client, Target, content, merged, replace
from askdocs.commands.options import GatewayOption, HomeOption, KeyOption
from askdocs.state import home
from askdocs.state.database import opened
from askdocs.supervision import status
from askdocs.supervision.autocomplete import NAME
from core.errors import AskdocsError
from gateway.access.keys import Keys

QUESTION = "What is this documentation about?"
PATIENCE = 300.0  # seconds
WORDS = 60  # tokens of the answer
NO_KEY = "the key that --write creates"
AGENTS = 32_000  # tokens of context


def connect(
    client: Annotated[str, typer.Argument(help=f"One of {', '.join(CLIENTS)}.")],
    write: Annotated[
        bool, typer.Option("--write", help="Write the settings; keep other settings in the file.")
    ] = False,
    file: Annotated[
        Path | None,
        typer.Option("--file", help="Settings file, if not at its usual place."),
    ] = None,
    model: Annotated[str, typer.Option(help="Alias that answers from the wiki.")] = "docs",
    autocomplete: Annotated[
        str | None,
        typer.Option(help="Code model for autocomplete (default: the one of `askdocs up`)."),
    ] = None,
    url: GatewayOption = None,
    key: KeyOption = None,
    home_dir: HomeOption = None,
) -> None:
    """Connect an editor or agent: its settings, a key and a test.

    --write creates a key, unless --key is given, and changes files, of which it keeps copies.
    """
    entry = CLIENTS.get(client)
    if entry is None:
        raise AskdocsError(f"{client!r} is not a known client; choose from {', '.join(CLIENTS)}")
    if url is not None and not key:
        raise AskdocsError("--url needs --key: keys of another gateway cannot be made here")
    if write and not entry.files:
        raise AskdocsError(f"{entry.title} keeps its settings itself: leave out --write")
    if file is not None and not entry.files:
        raise AskdocsError(f"{entry.title} has no settings file: leave out --file")
    running = None if url else status.read(home.find(home_dir))
    base = (running.gateway if running else str(url)).rstrip("/")
    question = (running.question if running else "") or QUESTION
    given = key is not None
    paths = [Path.home() / config.path for config in entry.files]
    paths[:1] = [file] if file is not None else paths[:1]
    before = [content(path) for path in paths]
    probe = Target(base, "x", model)
    for path, text, config in zip(paths, before, entry.files, strict=True):
        _checked(path, text, config, probe)  # before a key is made for it
    creates = key is None and (write or not entry.files)
    name = ""
    if key is None:
        if creates:
            name, key = _new_key(client, home_dir)
        else:
            key = home.find(home_dir).existing_key()
    if key is None:
        raise AskdocsError("the installation has no key: start `askdocs up` again, or add --key")
    target = _target(base, key, model, autocomplete)
    shown = target if creates or given else dataclasses.replace(target, key=NO_KEY)
    for path, text, config in zip(paths, before, entry.files, strict=True):
        _show_or_write(path, text, _checked(path, text, config, shown), write)
    values = {"url": target.url, "key": target.key, "model": target.model, "code": target.code}
    if entry.by_hand:
        print(entry.by_hand.format(**values))
    if name:
        print(f"key: {name} (`askdocs keys revoke {name}` revokes it)")
    print(f"asking {model} through {entry.endpoint}: {question}", flush=True)
    print(_asked(entry, target, question))
    _warn(target)
    if entry.files and not write:
        more = "" if given else " and creates the key"
        print(f"no file was written: `askdocs connect {client} --write` writes it{more}")
    elif entry.after:
        print(entry.after.format(**values))


def _warn(target: Target) -> None:
    """Print why coding agents would not work."""
    context = target.context(target.model)
    if target.quotes:
        text = f"the model behind {target.model} cannot use tools, and only quotes pages"
        print(f"warning: {text}: agents need a larger one")
    elif context < AGENTS:
        text = f"{target.model} has a context of {context:,} tokens; agents need {AGENTS:,}"
        print(f"warning: {text}: start the engine with more")


def _new_key(client: str, home_dir: Path | None) -> tuple[str, str]:
    with opened(home_dir) as engine:
        keys = Keys(engine)
        used = {used_key.name for used_key in keys.list() if used_key.revoked is None}
        names = itertools.chain([client], (f"{client}-{n}" for n in itertools.count(2)))
        name = next(name for name in names if name not in used)
        _, text = keys.create(name)
    return name, text


def _target(base: str, key: str, model: str, autocomplete: str | None) -> Target:
    """What the gateway lists for the key."""
    listed = _sent(base, key, "GET", "/models").get("data", [])
    models = {str(listed_model["id"]): listed_model.get("max_model_len") for listed_model in listed}
    for wanted in filter(None, (model, autocomplete)):
        if wanted not in models:
            raise AskdocsError(f"{base} has no model {wanted!r}; it has {', '.join(models)}")
    grounding = next(m for m in listed if m["id"] == model).get("grounding") or {}
    completer = autocomplete or next((name for name in models if name.startswith(NAME)), None)
    return Target(base, key, model, models, completer, grounding.get("answers") == "quote")


def _checked(path: Path, text: str, file: Any, target: Target) -> str:
    try:
        return merged(text, file, target)
    except AskdocsError as error:
        new = merged("", file, target)
        raise AskdocsError(f"{path}: {error}:\n{new}") from None


def _show_or_write(path: Path, before: str, after: str, write: bool) -> None:
    if not write:
        print(f"# {path}\n{after}")
    elif after == before:
        print(f"{path}: already has the settings")
    else:
        backup = replace(path, after)
        print(f"{path}: written" + (f"; copy of the old file: {backup}" if backup else ""))


def _asked(client: Client, target: Target, question: str) -> str:
    """One question through the endpoint that the client uses, with its key. Raises AskdocsError."""
    spoken = [{"role": "user", "content": question}]
    body: dict[str, Any] = {"model": target.model}
    if client.endpoint == "/responses":
        body |= {"input": question, "max_output_tokens": WORDS}
    else:
        body |= {"messages": spoken, "max_tokens": WORDS}
    reply = _sent(target.url, target.key, "POST", client.endpoint, body)
    words = " ".join(_text(reply).split())
    return f"it answers: {words[:200]}"


def _text(reply: dict[str, Any]) -> str:
    """The words of an answer in any of the three forms."""
    for choice in reply.get("choices", []):
        return str(choice["message"].get("content") or "")
    parts = reply.get("content") or [
        part for item in reply.get("output", []) for part in item.get("content") or []
    ]
    return " ".join(str(part.get("text", "")) for part in parts)


def _sent(base: str, key: str, method: str, path: str, body: Any = None) -> dict[str, Any]:
    is_here = httpx.URL(base).host in ("127.0.0.1", "localhost", "::1")
    headers = {"authorization": f"Bearer {key}"}
    try:
        # A proxy of the environment does not lead to this machine.
        with httpx.Client(timeout=PATIENCE, trust_env=not is_here) as http:
            reply = http.request(method, f"{base}{path}", json=body, headers=headers)
        read = reply.json()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise AskdocsError(f"{base} does not answer ({error})") from None
    except ValueError:
        raise AskdocsError(f"{base}{path} is not a gateway; it sent {reply.text[:100]!r}") from None
    if reply.status_code != 200 or not isinstance(read, dict):
        stated = read.get("error") if isinstance(read, dict) else None
        message = stated.get("message") if isinstance(stated, dict) else reply.text[:200]
        raise AskdocsError(f"{base}{path} refuses ({reply.status_code}): {message}")
    return read
