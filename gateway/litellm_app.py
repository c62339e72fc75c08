"""LiteLLM's own proxy app, configured by `gateway/litellm.yaml`, as an ASGI app."""

import os
import secrets
from pathlib import Path

from fastapi import FastAPI

CONFIG = Path(__file__).with_name("litellm.yaml")


def load(engine_url: str, engine_model: str, engine_key: str | None, key: str) -> FastAPI:
    """Import and configure LiteLLM's proxy. Takes about ten seconds: its modules are many.

    LiteLLM is configured through the environment of the process, so one process has one.
    """
    os.environ.update(
        {
            "LITELLM_ENGINE_MODEL": f"hosted_vllm/{engine_model}",
            "LITELLM_ENGINE_URL": engine_url,
            "LITELLM_ENGINE_KEY": engine_key or "none",
            "ASKDOCS_GATEWAY_KEY": key,
            # Guards LiteLLM's admin routes, which this gateway does not expose; never shown.
            "LITELLM_MASTER_KEY": f"sk-{secrets.token_hex(32)}",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # no download at start
            "LITELLM_TELEMETRY": "False",
            "CONFIG_FILE_PATH": str(CONFIG),
            "DISABLE_ADMIN_UI": "True",
        }
    )
    from litellm.proxy.proxy_server import app

    assert isinstance(app, FastAPI)
    return app
