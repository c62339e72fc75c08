"""The `[slack]` section of the settings."""

import re
from typing import ClassVar

from pydantic import Field, SecretStr, field_validator

from core.settings import Section

GROUP = re.compile(r"S[A-Z0-9]{7,}")


class SlackSettings(Section):
    """Which Slack app askdocs is, and who is asked in which channel.

    Where the answers come from is said by `gateway_url` and `gateway_key` of `[widget]`.
    """

    section: ClassVar[str] = "slack"

    bot_token: SecretStr | None = Field(
        None, description="Bot token of the Slack app (xoxb-...); environment only."
    )
    app_token: SecretStr | None = Field(
        None, description="App-level token for Socket Mode (xapp-...); environment only."
    )
    signing_secret: SecretStr | None = Field(
        None, description="Signing secret of the Slack app, for HTTP; environment only."
    )
    model: str = Field("docs", description="Model (alias) to ask.")
    channels: dict[str, str] = Field(
        {},
        description="Model (alias) by channel, to override the default; ids or names of channels.",
    )
    humans: str = Field(
        "", description="Where “Ask a human” goes: a channel (id or name) or a user group (id)."
    )
    people: bool = Field(
        True, description="Store the Slack user id with a question? Otherwise only a pseudonym."
    )
    host: str = Field("127.0.0.1", description="Address that HTTP listens on.")
    port: int = Field(3000, ge=1, le=65535, description="Port that HTTP listens on.")
    api_url: str = Field(
        "https://slack.com/api/", description="Slack's Web API; GovSlack has another."
    )

    @field_validator("channels")
    @classmethod
    def _without_hash(cls, channels: dict[str, str]) -> dict[str, str]:
        return {name.removeprefix("#"): alias for name, alias in channels.items()}

    @field_validator("humans")
    @classmethod
    def _is_place(cls, humans: str) -> str:
        humans = humans.removeprefix("#")
        if humans.startswith(("@", "<")) or " " in humans:
            raise ValueError(
                "is neither a channel nor the id of a user group; write help, C0123456789 or"
                " S0123456789"
            )
        return humans

    @property
    def group(self) -> str:
        """The user group that is asked, or an empty string."""
        return self.humans if GROUP.fullmatch(self.humans) else ""
