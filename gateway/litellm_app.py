"""LiteLLM's own proxy app, configured by `gateway/litellm.yaml`, as an ASGI app."""

import asyncio
import logging
import os
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

CONFIG = Path(__file__).with_name("litellm.yaml")
# What the client sent and LiteLLM must not read: keys of ours, and a body's type, since it takes a
# body for a form when its type says so, which is curl's default.
_DROPPED = frozenset(
    (b"authorization", b"x-api-key", b"api-key", b"accept-encoding", b"content-type")
)


@asynccontextmanager
async def running(models: list[dict[str, Any]], key: str) -> AsyncIterator[ASGIApp]:
    """LiteLLM's proxy, started. Takes about ten seconds: its modules are many.

    LiteLLM is configured through the environment of the process, so one process has one.

    Args:
        models: its `model_list`, in place of the one in the file.
        key: the key that its `custom_auth` accepts.
    """
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    config["model_list"] = models
    # It holds keys of providers, and is read once, while LiteLLM starts.
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(config, file)
        file.flush()
        app = await asyncio.to_thread(_load, Path(file.name), key)
        started = app.router.lifespan_context(app)
        await started.__aenter__()
    try:
        yield _closed(app, key)
    finally:
        await started.__aexit__(None, None, None)


def _load(config: Path, key: str) -> FastAPI:
    os.environ.update(
        {
            "ASKDOCS_GATEWAY_KEY": key,
            # Guards LiteLLM's admin routes, which this gateway does not expose; never shown.
            "LITELLM_MASTER_KEY": f"sk-{secrets.token_hex(32)}",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # no download at start
            "LITELLM_TELEMETRY": "False",
            "CONFIG_FILE_PATH": str(config),
            "DISABLE_ADMIN_UI": "True",
        }
    )
    # Where an image forbids Python to keep what it compiles (PYTHONDONTWRITEBYTECODE), every start
    # compiles LiteLLM again: 12 s of a core instead of 6.
    sys.dont_write_bytecode = False
    from litellm.proxy.proxy_server import app

    # It logs a traceback for every mistake of a client and every refusal of a model, some 50 ms
    # each; this gateway states both.
    for name in ("LiteLLM", "LiteLLM Proxy", "LiteLLM Router"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    assert isinstance(app, FastAPI)
    return app


def _closed(app: FastAPI, key: str) -> ASGIApp:
    """The app as this gateway calls it: with its own key, and a body that is JSON."""
    added = [
        (b"authorization", f"Bearer {key}".encode()),
        (b"content-type", b"application/json"),
    ]

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(k, v) for k, v in scope["headers"] if k not in _DROPPED]
        await app({**scope, "headers": [*headers, *added]}, receive, send)

    return call
