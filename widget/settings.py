"""The `[widget]` section of the settings."""

import ipaddress
import re
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from core.settings import Hosts, Section
from widget.access.origins import web_address

# Format of a CSP source; a path or a trailing slash would silently match nothing.
ORIGIN = re.compile(
    r"https?://(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:\d{1,5})?|https?://\[[0-9a-f:]+\](:\d{1,5})?"
)


SHORTEST_SECRET = 32  # characters
MAIL = re.compile(r"[A-Za-z0-9.!#$%'*+/=^_`{|}~-]+@[A-Za-z0-9.-]+")


class WidgetSettings(Section):
    """Where the box is served, where it gets its answers, and who may embed it."""

    section: ClassVar[str] = "widget"

    host: str = Field("127.0.0.1", description="Address that the widget listens on.")
    port: int = Field(8080, ge=1, le=65535, description="Port that the widget listens on.")
    hosts: Hosts = ()
    gateway_url: str = Field(
        "http://127.0.0.1:4000/v1", description="Base URL of the gateway, with /v1."
    )
    gateway_key: SecretStr | None = Field(
        None, description="API key for the gateway. Stays on the server; environment only."
    )
    model: str = Field("docs", description="Model (alias) to ask.")
    origins: tuple[str, ...] = Field(
        (), description="Origins (scheme://host:port) of the wikis that may embed the widget."
    )
    public_url: str = Field(
        "", description="Public address of the widget, used for links in messages."
    )
    title: str = Field("Ask the docs", description="Heading of the box.")
    examples: tuple[str, ...] = Field(
        (),
        description="Example questions in the empty box; `asked` means the most frequent"
        " questions.",
    )
    database_url: SecretStr | None = Field(
        None,
        description="Database for questions and votes: sqlite:///FILE or postgresql://. Nothing"
        " is stored without it. Environment only.",
    )
    redis_url: SecretStr | None = Field(
        None, description="Redis, to enforce limits across processes. Environment only."
    )
    secret: SecretStr | None = Field(
        None,
        description="Secret that signs widget tokens, of 32 characters or more; derived from"
        " gateway_key when not set. Environment only.",
    )
    previous_secret: SecretStr | None = Field(
        None,
        description="The previous secret or gateway_key, whose signatures are still accepted."
        " Environment only.",
    )
    store: bool = Field(True, description="Keep questions, answers and votes in the database?")
    retention_days: int = Field(
        90,
        ge=1,
        le=36_500,
        description="Days after which questions, answers and votes are deleted.",
    )
    visitors: Literal["address", "cookie"] = Field(
        "address",
        description="How to identify anonymous visitors: by address for a day, or by a cookie.",
    )
    asks_per_minute: int = Field(
        20,
        ge=1,
        le=10_000,
        description="Questions per visitor in any 60 seconds; the same for votes.",
    )
    trusted_proxies: tuple[str, ...] = Field(
        ("127.0.0.1", "::1"),
        description="Addresses or networks of trusted proxies.",
    )
    person_header: str = Field(
        "",
        description="Header in which a trusted proxy names the person, such as x-forwarded-email.",
    )
    team_header: str = Field(
        "", description="Header in which a trusted proxy names the person's team."
    )
    groups_header: str = Field(
        "",
        description="Header with the person's groups, separated by commas, such as"
        " x-forwarded-groups.",
    )
    groups_claim: str = Field("groups", description="JWT claim that contains the groups.")
    groups_file: Path | None = Field(
        None,
        description="JSON file of group members: e-mail addresses by group. Added to the groups"
        " of the sign-in, and used for Slack; reloaded when it changes.",
    )
    identity_key: SecretStr | None = Field(
        None,
        description="Secret of 32 characters or more, or public key (PEM), to verify JWTs that"
        " identify the person. Environment only.",
    )
    identity_header: str = Field(
        "", description="Header with the JWT; a page can also pass it in data-identity."
    )
    identity_issuer: str = Field(
        "", description="The issuer (iss) that a JWT must have; required with identity_key."
    )
    identity_audience: str = Field(
        "", description="The audience (aud) that a JWT must have; required with identity_key."
    )
    identity_required: bool = Field(False, description="Answer only identified people?")
    captcha: Literal["", "turnstile", "hcaptcha"] = Field(
        "", description="Captcha service for the first question; empty: none."
    )
    captcha_site_key: str = Field("", description="The captcha service's site key.")
    captcha_secret: SecretStr | None = Field(
        None, description="The captcha service's secret key. Environment only."
    )
    handoff_mail: str = Field(
        "", description="E-mail address for questions that the docs do not answer."
    )
    handoff_channel: str = Field(
        "", description="Web address of a chat channel for these questions."
    )
    handoff_webhook: SecretStr | None = Field(
        None,
        description="Webhook that receives these questions as JSON, for example of a ticket system."
        " Environment only.",
    )

    reviewers: tuple[str, ...] = Field(
        (), description="Who may review: user names of the sign-in, or `@team`."
    )
    second_approval: bool = Field(False, description="Require a second person's approval?")
    index: Path | None = Field(
        None, description="The gateway's index, from which reviewers choose pages."
    )
    digest_webhook: SecretStr | None = Field(
        None,
        description="Webhook that receives each week's gaps, such as Slack's. Environment only.",
    )

    @model_validator(mode="after")
    def _has_both_keys(self) -> Self:
        if self.captcha and not (self.captcha_site_key and self.captcha_secret):
            raise ValueError(
                "captcha needs captcha_site_key, and ASKDOCS_WIDGET_CAPTCHA_SECRET in the"
                " environment"
            )
        return self

    @model_validator(mode="after")
    def _knows_its_tokens(self) -> Self:
        # A token that the same sign-in issued for another program must not sign anybody in here.
        missing = [
            name for name in ("identity_issuer", "identity_audience") if not getattr(self, name)
        ]
        if self.identity_key and missing:
            raise ValueError(
                f"identity_key needs {' and '.join(missing)}: the iss and aud of the tokens that"
                " it verifies"
            )
        return self

    @field_validator("secret", "previous_secret", "identity_key")
    @classmethod
    def _is_not_guessed(cls, secret: SecretStr | None) -> SecretStr | None:
        # Whoever has a signature can test secrets offline (RFC 7518, 3.2).
        if secret and len(secret) < SHORTEST_SECRET:
            raise ValueError(
                f"it has {len(secret)} characters; the minimum is {SHORTEST_SECRET}: create one "
                "with `openssl rand -hex 32`"
            )
        return secret

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            try:
                ipaddress.ip_network(proxy)
            except ValueError:
                raise ValueError(
                    f"{proxy!r} is not an address or a network, like 10.0.0.7 or 10.0.0.0/8"
                ) from None
        return proxies

    @field_validator("public_url")
    @classmethod
    def _is_reachable(cls, url: str) -> str:
        if url and not web_address(url):
            raise ValueError(f"{url!r} is not a web address, like https://ask.example.com")
        return url.rstrip("/")

    @field_validator("handoff_channel")
    @classmethod
    def _is_web(cls, channel: str) -> str:
        if channel and not web_address(channel):
            raise ValueError(f"{channel!r} is not a web address; copy the link of the channel")
        return channel

    @field_validator("handoff_mail")
    @classmethod
    def _is_mail(cls, mail: str) -> str:
        if mail and not MAIL.fullmatch(mail):
            raise ValueError(f"{mail!r} is not a mail address, like docs@example.com")
        return mail

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
