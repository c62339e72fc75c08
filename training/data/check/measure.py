"""Measures rows with libraries of the dataset environment: nearness, language, secrets, mojibake.

    PYTHON -I training/data/check/measure.py JOB.json FOUND.jsonl

Runs by the Python of that environment and imports nothing of this repository. JOB is an object:

    rows: [{"place": [file, line], "split": "...", "words": [...], "texts": {field: text}}, ...]

`words` are compared where there are any, `texts` looked through where there are any. FOUND gets one
JSON object a line: `near`, `language`, `secret` or `mojibake`, each with its place. Progress goes
to standard output as JSON lines. Nothing goes to the network.
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
"""Of all words of two questions, the share in common that makes them almost the same."""
# Below SAME, so that hashing overlooks hardly a pair; what it proposes is counted exactly.
PROPOSED = 0.65
PERMUTATIONS = 128
# Rows that a process looks through at once.
PART = 250
# What a library says of a shorter or less clear text is no more than a guess.
LETTERS = 60
SURE = 0.95
# More characters do not make it surer.
ENOUGH = 600
# Looked for by randomness alone, they find every long word and every hash in a text.
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
    """For each row and each group (a split of a file): an earlier row of its own group, and any
    row of another one, that asks almost the same."""
    from datasketch import MinHash, MinHashLSH

    sets = [frozenset(row["words"]) for row in rows]
    groups = [f"{row['place'][0]} {row['split']}" for row in rows]
    # Questions of the same words are hashed once.
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
            continue  # what is compared with is not compared itself
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
    """What is in the texts, by all cores."""
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
    """The language of question and answer, where there is enough of them to tell."""
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
    """Texts that were decoded wrongly once."""
    from ftfy.badness import BADNESS_RE, is_bad

    for field, text in texts.items():
        if not text.isascii() and is_bad(text):
            start = max(0, BADNESS_RE.search(text).start() - 10)
            yield {"field": field, "value": text[start : start + 40]}


def secrets(texts: dict[str, str]) -> Iterator[Row]:
    """What looks like a key, a token or a password."""
    from detect_secrets.plugins.keyword import KeywordDetector

    detectors, keywords = plugins()
    for field, text in texts.items():
        for line in text.splitlines():
            # It takes longer than all others, and finds nothing without one of its words.
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
    """The detectors, and the words that the one for keywords needs. Called like this, they ask no
    service whether a key is real."""
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
    from detect_secrets.plugins.keyword import DENYLIST

    known = get_mapping_from_secret_type_to_class().values()
    chosen = [plugin() for plugin in known if plugin.__name__ not in GUESSES]
    # Of a pattern such as `api_?key` the end is enough to say that it cannot be there.
    return chosen, {re.split(r"\W+", pattern)[-1] for pattern in DENYLIST}


def tell(step: str, done: int, total: int) -> None:
    print(json.dumps({"step": step, "done": done, "total": total}), flush=True)


if __name__ == "__main__":
    main()
