"""Inspects texts with libraries of the dataset environment: language, secrets, mojibake.

    PYTHON -I training/data/check/measure.py JOB.json

Runs in that environment's Python and imports nothing from this repository. JOB is an object:

    rows: [{"line": 1, "texts": {field: text}}, ...]

Prints the events of training/tuning/events.py: `progress`, and `done` with what was found: objects
of the kinds `language`, `secret` and `mojibake`, each with its line. The network is not used.
"""

import json
import multiprocessing
import os
import re
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

# Rows per task of a process.
PART = 250
# For shorter or less clear texts the library only guesses.
LETTERS = 60
SURE = 0.95
# More characters do not improve certainty.
ENOUGH = 600
# Detectors that rely on entropy alone match every long word and every hash.
GUESSES = {"Base64HighEntropyString", "HexHighEntropyString", "IPPublicDetector"}

Row = dict[str, Any]


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as job:
        rows = json.load(job)["rows"]
    tell("done", result=list(looked_through([row for row in rows if row["texts"]])))


def looked_through(rows: list[Row]) -> Iterator[Row]:
    """Inspect the texts on all cores."""
    parts = [rows[start : start + PART] for start in range(0, len(rows), PART)]
    with multiprocessing.Pool(min(len(os.sched_getaffinity(0)), len(parts) or 1)) as pool:
        for number, results in enumerate(pool.imap(look, parts)):
            tell("progress", step="languages, secrets", done=number * PART, total=len(rows))
            yield from results


def look(rows: list[Row]) -> list[Row]:
    return [
        {"kind": kind, "line": row["line"], **thing}
        for kind, look_at in (("language", language), ("mojibake", mojibake), ("secret", secrets))
        for row in rows
        for thing in look_at(row["texts"])
    ]


def language(texts: dict[str, str]) -> Iterator[Row]:
    """The language of question and answer, if they are long enough to tell."""
    text = "\n".join(texts.get(field, "") for field in ("question", "answer"))
    if sum(character.isalpha() for character in text) >= LETTERS:
        name, probability = identifier().classify(text[:ENOUGH])
        if probability >= SURE:
            yield {"language": name}


@cache
def identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def mojibake(texts: dict[str, str]) -> Iterator[Row]:
    """Texts that were once decoded with the wrong encoding."""
    from ftfy.badness import BADNESS_RE, is_bad

    for field, text in texts.items():
        if not text.isascii() and is_bad(text):
            start = max(0, BADNESS_RE.search(text).start() - 10)
            yield {"field": field, "value": text[start : start + 40]}


def secrets(texts: dict[str, str]) -> Iterator[Row]:
    """Text that looks like a key, a token or a password."""
    from detect_secrets.plugins.keyword import KeywordDetector

    detectors, keywords = plugins()
    for field, text in texts.items():
        for line in text.splitlines():
            # The slowest detector, which finds nothing without one of its keywords.
            lower = line.lower()
            has_keyword = any(word in lower for word in keywords)
            for plugin in detectors:
                if isinstance(plugin, KeywordDetector) and not has_keyword:
                    continue
                for secret in plugin.analyze_line(filename="", line=line, line_number=1):
                    value = secret.secret_value or ""
                    yield {"field": field, "value": value[:4], "type": secret.type}


@cache
def plugins() -> Any:
    """The detectors, and the keywords of the keyword detector. Called like this, they ask no
    service whether a key is real."""
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
    from detect_secrets.plugins.keyword import DENYLIST

    known = get_mapping_from_secret_type_to_class().values()
    chosen = [plugin() for plugin in known if plugin.__name__ not in GUESSES]
    # The last word of a pattern such as `api_?key` is enough to rule it out.
    return chosen, {re.split(r"\W+", pattern)[-1] for pattern in DENYLIST}


def tell(event: str, **facts: Any) -> None:
    print(json.dumps({"event": event, **facts}), flush=True)


if __name__ == "__main__":
    main()
