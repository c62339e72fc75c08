"""The address of a folder on a branch of a Git repository."""

import re
from typing import NamedTuple, Self
from urllib.parse import unquote

from core.control_characters import without
from core.errors import AskdocsError
from wiki.sources.addresses import refuse_password

_BRANCH = re.compile(r"(?!.*(?:\.\.|//|@\{|\.lock(?:/|$)))[\w][\w./+#-]{0,250}", re.ASCII)


class Address(NamedTuple):
    """`https://host/team/wiki.git#branch:folder`."""

    url: str
    branch: str
    """If empty, the repository's default branch."""
    folder: str
    """Within the repository; empty means all of it."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises AskdocsError: the branch or the folder is invalid."""
        url, _, part = text.partition("#")
        refuse_password(url)
        branch, _, folder = unquote(part).partition(":")
        if branch and not _BRANCH.fullmatch(branch):
            raise AskdocsError(f"{text}: {branch!r} is not a branch name: write URL#branch:folder")
        folder = folder.strip("/")
        parts = folder.split("/") if folder else []
        is_inside = all(part not in ("", ".", "..") and part.lower() != ".git" for part in parts)
        if not is_inside or folder != without(folder):
            raise AskdocsError(f"{text}: {folder!r} is not a folder in a repository")
        return cls(url, branch, folder)
