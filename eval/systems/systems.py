"""The systems of an evaluation: ways to answer, each with the base or the tuned model."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, cast

from gateway.core.errors import AskdocsError

Role = Literal["base", "tuned", "other"]
Method = Literal[
    "closed", "pages", "rag", "oracle", "first-sentence", "best-overlap", "always-refuse"
]

ROLES: tuple[Role, ...] = ("base", "tuned", "other")
METHODS: tuple[Method, ...] = ("closed", "pages", "rag", "oracle")
TRIVIAL: tuple[Method, ...] = ("first-sentence", "best-overlap", "always-refuse")
NAMES = (*(f"{role}-{method}" for method in METHODS for role in ROLES[:2]), *TRIVIAL)
OTHER = "other-rag"
"""RAG with another generator, such as a provider's; asked only where one is named."""


class System(NamedTuple):
    """A way to answer."""

    name: str
    method: Method
    role: Role | None
    """Of its model; None: it has none."""


def parse(names: Sequence[str]) -> tuple[System, ...]:
    """The systems of these names, each once, in the order of NAMES.

    Raises:
        AskdocsError: no system has that name, or there is none at all.
    """
    for name in names:
        if name not in (*NAMES, OTHER):
            raise AskdocsError(
                f"--systems: there is no {name!r}; there are {', '.join(NAMES)}: name some of"
                " them, with commas"
            )
    if not names:
        raise AskdocsError(f"--systems: name some of {', '.join(NAMES)}, with commas")
    return tuple(_parsed(name) for name in (*NAMES, OTHER) if name in names)


def _parsed(name: str) -> System:
    role, _, method = name.partition("-")
    if role in ROLES:
        return System(name, cast(Method, method), role)
    return System(name, cast(Method, name), None)
