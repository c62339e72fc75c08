"""detect-secrets in 3/4 of its time: `PYTHON scripts/detect.py scan FILE ...`, with its options.

By the Python of the environment `security`; `scripts/secrets_scan.py` runs it. detect-secrets calls
each of its 27 detectors for each line, which takes longer than their regular expressions. Here they
are called for a line that one of these expressions, or a word of the detector of keywords, matches.
"""

import re
import sys
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Any

from detect_secrets.core import scan
from detect_secrets.main import main
from detect_secrets.plugins.base import BasePlugin, RegexBasedDetector
from detect_secrets.plugins.keyword import DENYLIST, KeywordDetector

whole = scan._scan_line
# Of a pattern such as `api_?key`, a line without the end cannot have it.
WORDS = {re.split(r"\W+", pattern)[-1] for pattern in DENYLIST}


def has_only_patterns(kind: Any) -> bool:
    return (
        issubclass(kind, RegexBasedDetector)
        and kind.analyze_line is BasePlugin.analyze_line
        and kind.analyze_string is RegexBasedDetector.analyze_string
    )


@cache
def plain() -> tuple[set[type], list[re.Pattern[str]]]:
    """The detectors that are nothing but patterns, and these patterns."""
    plugins = [plugin for plugin in scan.get_plugins() if has_only_patterns(type(plugin))]
    return {type(plugin) for plugin in plugins}, [
        pattern for plugin in plugins for pattern in plugin.denylist
    ]


@lru_cache(1)  # each line is asked about by all detectors, one after the other
def matches(line: str) -> bool:
    return any(pattern.search(line) for pattern in plain()[1])


@lru_cache(1)
def has_word(line: str) -> bool:
    lower = line.lower()
    return any(word in lower for word in WORDS)


def scan_line(plugin: Any, filename: str, line: str, **more: Any) -> Iterable[Any]:
    kind = type(plugin)
    if kind in plain()[0] and not matches(line):
        return ()
    if kind is KeywordDetector and not has_word(line):
        return ()
    found: Iterable[Any] = whole(plugin=plugin, filename=filename, line=line, **more)
    return found


scan._scan_line = scan_line
if __name__ == "__main__":
    sys.exit(main())
