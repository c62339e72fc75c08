"""The `[widget]` section of the settings."""

import re
from typing import ClassVar

from pydantic import Field, SecretStr, field_validator

from gateway.settings import Section

# What a CSP source may look like; a path or a trailing slash would make it match nothing, silently.
ORIGIN = re.compile(
    r"https?://(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:\d{1,5})?|https?://\[[0-9a-f:]+\](:\d{1,5})?"
)


class WidgetSettings(Section):
    """Where the box is served, where it gets its answers, and who may embed it."""

    section: ClassVar[str] = "widget"

    host: str = Field("127.0.0.1", description="Address that the widget listens on.")
    port: int = Field(8080, ge=1, le=65535, description="Port that the widget listens on.")
    gateway_url: str = Field(
        "http://127.0.0.1:4000/v1", description="Base URL of the gateway, with /v1."
    )
    gateway_key: SecretStr | None = Field(
        None, description="API key for the gateway. Stays on the server; environment only."
    )
    model: str = Field("docs", description="Model (alias) that is asked.")
    origins: tuple[str, ...] = Field(
        (), description="Origins (scheme://host:port) of the wikis that may embed the box."
    )
    title: str = Field("Ask the docs", description="Heading of the box.")

    @field_validator("origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"{origin!r} is not an origin; write scheme://host or scheme://host:port in"
                    " lower case, without a path, like https://wiki.example.com"
                )
        return origins
