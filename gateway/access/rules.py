"""The rules on page permissions in the settings.

A separate module, so that the process that reads a wiki starts without pydantic.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from gateway.access.rights import groups_of


class Rule(BaseModel):
    """Who may read some pages: `[gateway.rights.NAME]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    wiki: str = Field("", description="Name of the wiki as in `askdocs docs stats`, or all.")
    path: str = Field(
        "", description="A page, a folder with a trailing slash (`hr/`), or the whole wiki."
    )
    groups: tuple[str, ...] = Field(
        description="Groups that may read them; membership in one is enough."
    )

    @field_validator("path")
    @classmethod
    def _is_relative(cls, path: str) -> str:
        if path.startswith(("/", "./")) or "*" in path:
            raise ValueError("write the path as in `askdocs docs list`, and a folder as hr/")
        return path

    @field_validator("groups")
    @classmethod
    def _are_names(cls, groups: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted(groups_of(groups)))

    def covers(self, wiki: str, path: str) -> bool:
        """Does it protect the file at `path` of a wiki?"""
        if self.wiki and self.wiki != wiki:
            return False
        in_folder = self.path.endswith("/") and path.startswith(self.path)
        return not self.path or in_folder or path == self.path

    @property
    def readers(self) -> frozenset[str]:
        return frozenset(self.groups)


WithoutGroups = Literal["everybody", "nobody"]


@dataclass(frozen=True)
class Rules:
    """The settings' rules on permissions."""

    rules: Mapping[str, Rule]
    without_groups: WithoutGroups | None = None
    """Who may read a page without groups? None: nobody, once a rule or any page has groups."""


NO_RULES = Rules({})
