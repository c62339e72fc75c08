"""The `[widget]` section of the settings."""

from typing import ClassVar

from pydantic import Field, SecretStr

from gateway.settings import Section


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
