"""The result of a sync."""

from collections import Counter
from dataclasses import dataclass

from wiki.sources.source import Broken, LeftOut


@dataclass(frozen=True)
class Synced:
    """The result of a sync, or of a dry run; paths in order."""

    source: str
    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: int
    """Pages with unchanged text; some may be `regrouped`."""
    broken: tuple[Broken, ...]
    """They keep their state in the index, or are not in it."""
    excluded: tuple[str, ...]
    """Pages of the wiki that were manually excluded from answers."""
    left_out: tuple[LeftOut, ...]
    seconds: float
    regrouped: tuple[str, ...] = ()
    """Existing pages whose readers have changed."""
    twin: str = ""
    """Another source in the index with the same pages; checked if pages were added."""

    @property
    def pages(self) -> int:
        """The number of readable pages that are not excluded."""
        return len(self.added) + len(self.changed) + self.unchanged

    @property
    def is_different(self) -> bool:
        """Did the sync change pages that answers may use?"""
        return bool(self.added or self.changed or self.removed or self.regrouped)

    @property
    def repetition(self) -> str:
        """One line that reports duplicate pages in the index, with the fix; empty if there are
        none."""
        if not self.twin:
            return ""
        return (
            f"the index has these pages as {self.twin}, too, and answers may cite both:"
            f" `askdocs docs remove {self.twin}` keeps only those of {self.source}"
        )

    @property
    def reasons(self) -> dict[str, int]:
        """The number of files left out by reason, most frequent first."""
        return dict(Counter(file.why for file in self.left_out).most_common())

    @property
    def omission(self) -> str:
        """One line that reports what was left out; empty if nothing was."""
        reasons = ", ".join(f"{why} ({count:,})" for why, count in self.reasons.items())
        return f"{len(self.left_out):,} left out: {reasons}" if reasons else ""
