"""Measures rows with libraries of the dataset environment: nearness, language, secrets, mojibake.

    PYTHON -I training/check/measure.py JOB.json FOUND.jsonl

Runs by the Python of that environment and imports nothing of this repository. JOB is an object:

    rows: [{"place": [file, line], "split": "...", "words": [...], "texts": {field: text}}, ...]

`words` are compared where there are any, `texts` looked through where there are any. FOUND gets one
JSON object a line: `near`, `language`, `secret` or `mojibake`, each with its place. Progress goes
to standard output as JSON lines. Nothing goes to the network.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

SAME = 0.8
"""Of all words of two questions, the share in common that makes them almost the same."""
# Below SAME, so that hashing overlooks hardly a pair; what it proposes is counted exactly.
PROPOSED = 0.65
PERMUTATIONS = 128
# What a library says of a shorter or less clear text is no more than a guess.
LETTERS = 60
SURE = 0.95
# Looked for by randomness alone, they find every long word and every hash in a text.
GUESSES = {"Base64HighEntropyString", "HexHighEntropyString", "IPPublicDetector"}

Row = dict[str, Any]


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as job:
        rows = json.load(job)["rows"]
    read = [row for row in rows if row["texts"]]
    with open(sys.argv[2], "w", encoding="utf-8") as found:
        for kind, things in (
            ("near", near([row for row in rows if row["words"]])),
            ("language", languages(read)),
            ("mojibake", mojibake(read)),
            ("secret", secrets(read)),
        ):
            for thing in things:
                found.write(json.dumps({"kind": kind, **thing}) + "\n")


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
    for number, (words, group) in enumerate(
        told(zip(sets, groups, strict=True), len(rows), "near")
    ):
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


def languages(rows: list[Row]) -> Iterator[Row]:
    """The language of each row with enough text to tell."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    for row in told(rows, len(rows), "languages"):
        text = "\n".join(row["texts"].get(field, "") for field in ("question", "answer"))
        if sum(character.isalpha() for character in text) >= LETTERS:
            language, probability = identifier.classify(text)
            if probability >= SURE:
                yield {"place": row["place"], "language": language}


def mojibake(rows: list[Row]) -> Iterator[Row]:
    """Texts that were decoded wrongly once."""
    from ftfy.badness import BADNESS_RE, is_bad

    for row in rows:
        for field, text in row["texts"].items():
            if is_bad(text):
                start = max(0, BADNESS_RE.search(text).start() - 10)
                yield {"place": row["place"], "field": field, "value": text[start : start + 40]}


def secrets(rows: list[Row]) -> Iterator[Row]:
    """What looks like a key, a token or a password."""
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
    from detect_secrets.core.scan import scan_line
    from detect_secrets.settings import transient_settings

    names = {plugin.__name__ for plugin in get_mapping_from_secret_type_to_class().values()}
    plugins = [{"name": name} for name in sorted(names - GUESSES)]
    # Without filters nothing is asked of the services that such keys belong to.
    with transient_settings({"plugins_used": plugins, "filters_used": []}):
        for row in told(rows, len(rows), "secrets"):
            for field, text in row["texts"].items():
                for line in text.splitlines():
                    for secret in scan_line(line):
                        value = secret.secret_value or ""
                        yield {
                            "place": row["place"],
                            "field": field,
                            "value": value[:4],
                            "type": secret.type,
                        }


def told(things: Any, total: int, step: str) -> Iterator[Any]:
    """The things, with a line on standard output now and then."""
    for done, thing in enumerate(things):
        if done % 250 == 0:
            print(json.dumps({"step": step, "done": done, "total": total}), flush=True)
        yield thing


if __name__ == "__main__":
    main()
