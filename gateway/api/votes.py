"""A reader's vote on an answer, counted for the model that wrote it."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

from gateway.http.asgi import ApiError

PATH = "/askdocs/vote"
Direction = Literal["up", "down"]


class Vote(NamedTuple):
    """A vote, as `askdocs models compare` counts it."""

    alias: str
    """The requested alias."""
    model: str
    """The model that answered: the header x-askdocs-model."""
    vote: Direction


def read(request: Mapping[str, Any]) -> Vote:
    """Raises ApiError 400, with `param`: a field is missing or wrong."""
    for name in ("alias", "model"):
        if not isinstance(request.get(name), str):
            raise _wrong(name, "must be the name of a model", request)
    if request.get("vote") not in get_args(Direction):
        raise _wrong("vote", 'must be "up" or "down"', request)
    return Vote(request["alias"], request["model"], request["vote"])


def unknown_alias(name: str, known: Sequence[str]) -> ApiError:
    """404: votes are counted for aliases. `known` are those that the key may use."""
    return ApiError(
        404,
        f"alias is {name[:200]!r}, and votes are counted for aliases only: send the alias that"
        f" answered, one of {', '.join(known) or 'none that this key may use'}",
        param="alias",
        code="model_not_found",
    )


def _wrong(name: str, text: str, request: Mapping[str, Any]) -> ApiError:
    return ApiError(400, f"{name} {text} (it is {request.get(name)!r:.100})", param=name)
