"""API keys: who may ask, for which models, how much."""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Limits:
    """What a key may use; None is no limit."""

    rpm: int | None = None
    """Requests in any 60 seconds."""
    tpm: int | None = None
    """Tokens, of prompt and answer together, in any 60 seconds."""
    max_parallel: int | None = None
    """Requests at the same time; a stream counts until its last byte."""
    monthly_tokens: int | None = None
    """Tokens in a calendar month, UTC."""


@dataclass(frozen=True, slots=True)
class Key:
    """An API key as the gateway knows it; the secret itself is not part of it."""

    id: str
    name: str
    team: str
    created: datetime
    models: tuple[str, ...] = ()
    """Models and aliases that it may use; empty: all."""
    limits: Limits = field(default_factory=Limits)
    expires: datetime | None = None
    revoked: datetime | None = None

    def allows(self, model: str) -> bool:
        return not self.models or model in self.models
