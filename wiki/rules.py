"""The rules on page permissions in the settings.

A separate module, so that the process that reads a wiki starts without pydantic.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from wiki.rights import PUBLIC, Groups, both, groups_of, included


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

    def closed(
        self, wiki: str, files: Iterable[str], pages: Mapping[str, Groups | None]
    ) -> frozenset[str]:
        """The files of a wiki that are not for everybody, as on a site without a sign-in.

        Args:
            wiki: its name in the index.
            files: the paths of all its files.
            pages: the stored groups of the pages among them.
        """
        needed: dict[str, Groups | None] = {}
        for path in {*files, *pages}:
            own, parts = included(pages.get(path))
            for rule in self.rules.values():
                if any(rule.covers(wiki, part) for part in (path, *parts)):
                    own = both(own, (rule.readers,))
            needed[path] = own
        has_groups = bool(self.rules) or any(own is not None for own in needed.values())
        default = self.without_groups or ("nobody" if has_groups else "everybody")
        return frozenset(
            path
            for path, own in needed.items()
            if not PUBLIC.may_read(own) or (own is None and path in pages and default == "nobody")
        )


NO_RULES = Rules({})
