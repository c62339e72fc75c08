"""Checks rows with libraries of the dataset environment: near duplicates, language, secrets,
mojibake.

    PYTHON -I training/data/check/measure.py JOB.json FOUND.jsonl

Runs in that environment's Python and imports nothing from this repository. JOB is an object:

    rows: [{"place": [file, line], "split": "...", "words": [...], "texts": {field: text}}, ...]

Non-empty `words` are compared, non-empty `texts` inspected. FOUND gets one JSON object per line:
`near`, `language`, `secret` or `mojibake`, each with its place. Progress goes to standard output as
JSON Lines. The network is not used.
"""

import json
import multiprocessing
import os
import re
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

SAME = 0.8
"""Two questions that share at least this fraction of their words are near duplicates."""
# Below SAME, so that hashing misses hardly any pair; candidates are then counted exactly.
PROPOSED = 0.65
PERMUTATIONS = 128
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
    with open(sys.argv[2], "w", encoding="utf-8") as output:
        for thing in near([row for row in rows if row["words"]]):
            output.write(json.dumps({"kind": "near", **thing}) + "\n")
        for thing in looked_through([row for row in rows if row["texts"]]):
            output.write(json.dumps(thing) + "\n")


def near(rows: list[Row]) -> Iterator[Row]:
    """For each row and each group (a split of a file): one near duplicate, an earlier row if the
    group is the row's own."""
    from datasketch import MinHash, MinHashLSH

    sets = [frozenset(row["words"]) for row in rows]
    groups = [f"{row['place'][0]} {row['split']}" for row in rows]
    # Questions with the same words are hashed once.
    distinct = list(dict.fromkeys(sets))
    hashes = MinHash.generator(
        ([word.encode() for word in words] for words in distinct), num_perm=PERMUTATIONS
    )
    of = dict(zip(distinct, hashes, strict=True))
    tables = {
        group: MinHashLSH(threshold=PROPOSED, num_perm=PERMUTATIONS)
        for group in sorted(set(groups))
    }
    first: dict[tuple[str, frozenset[str]], int] = {}
    for number, (words, group) in enumerate(zip(sets, groups, strict=True)):
        if (group, words) not in first:
            first[group, words] = number
            tables[group].insert(number, of[words])
    for number, (words, group) in enumerate(zip(sets, groups, strict=True)):
        if number % PART == 0:
            tell("near questions", number, len(rows))
        if rows[number]["place"][0]:
            continue  # rows of other files are not compared with each other
        for other_group, table in tables.items():
            exact = first.get((other_group, words))
            candidates = sorted(table.query(of[words])) if exact in (None, number) else [exact]
            for other in candidates:
                if other_group == group and other >= number:
                    break
                both = len(words & sets[other])
                if both >= SAME * (len(words) + len(sets[other]) - both):
                    yield {"place": rows[number]["place"], "other": rows[other]["place"]}
                    break


def looked_through(rows: list[Row]) -> Iterator[Row]:
    """Inspect the texts on all cores."""
    parts = [rows[start : start + PART] for start in range(0, len(rows), PART)]
    with multiprocessing.Pool(min(len(os.sched_getaffinity(0)), len(parts) or 1)) as pool:
        for number, results in enumerate(pool.imap(look, parts)):
            tell("languages, secrets", number * PART, len(rows))
            yield from results


def look(rows: list[Row]) -> list[Row]:
    return [
        {"kind": kind, "place": row["place"], **thing}
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


def tell(step: str, done: int, total: int) -> None:
    print(json.dumps({"step": step, "done": done, "total": total}), flush=True)


if __name__ == "__main__":
    main()
