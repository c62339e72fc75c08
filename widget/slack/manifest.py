"""The app manifest: the Slack app's permissions and its events URL.

https://docs.slack.dev/reference/app-manifest
"""

from typing import Any

from widget.slack.web import PATH

SCOPES = (
    "app_mentions:read",
    "channels:read",
    "chat:write",
    "commands",
    "groups:read",
    "im:history",
)
# To look up people's groups by their e-mail address: see docs/how-to/rights.md.
OF_PEOPLE = ("users:read", "users:read.email")


def manifest(name: str, url: str | None = None) -> dict[str, Any]:
    """The manifest of an app for HTTP at this URL of ours, or for Socket Mode without a URL."""
    address = {"request_url": url.rstrip("/") + PATH} if url else {}
    command = {
        "command": "/ask",
        "description": "Ask the docs; only you see the answer.",
        "usage_hint": "How do I ...?",
        "should_escape": False,
    }
    if url:
        command["url"] = address["request_url"]
    return {
        "display_information": {
            "name": name,
            "description": "Answers questions from the team's docs, with sources.",
        },
        "features": {
            "app_home": {
                "home_tab_enabled": False,
                "messages_tab_enabled": True,
                "messages_tab_read_only_enabled": False,
            },
            "bot_user": {"display_name": name, "always_online": True},
            "slash_commands": [command],
        },
        "oauth_config": {"scopes": {"bot": list(SCOPES)}},
        "settings": {
            "event_subscriptions": {**address, "bot_events": ["app_mention", "message.im"]},
            "interactivity": {"is_enabled": True, **address},
            "org_deploy_enabled": False,
            "socket_mode_enabled": url is None,
            "token_rotation_enabled": False,
        },
    }
