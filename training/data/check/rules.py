"""The rules for datasets, and what breaks them."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

ANSWER_TOKENS = 1024
"""Longer answers usually answer two questions."""
ROW_TOKENS = 8192
"""Longest example that the recipes train on."""
FEWEST_TOKENS = 3
"""Minimum tokens of a question or an answer."""
REFUSALS = 0.1
"""Minimum share of rows with `answerable` false."""

HELD_OUT = ("validation", "test")


class Rule(NamedTuple):
    """A single check."""

    name: str
    severity: Literal["error", "warning"]
    about: str
    """What is wrong with a row that breaks the rule, and why it matters."""
    fix: str
    """How to fix it."""
    safe: bool = False
    """Does `--out` of `askdocs dataset check` fix it?"""


@dataclass(frozen=True, order=True)
class Finding:
    """A violation of a rule."""

    line: int
    """Line of the file, from 1; 0: the file as a whole."""
    rule: str
    field: str
    """The field; empty: the line as a whole."""
    value: str
    """The offending value; only the first letters of a secret."""
    message: str
    """Description of the problem."""


RULES = {
    rule.name: rule
    for rule in (
        Rule(
            "unreadable",
            "error",
            "The line is not a JSON object in UTF-8, so training ignores it.",
            "Write one JSON object per line, saved as UTF-8; `--out` removes the line.",
            safe=True,
        ),
        Rule(
            "field",
            "error",
            "A field is missing, empty or of the wrong type.",
            "Correct the field, or map it with `--field`; `--out` removes the row.",
            safe=True,
        ),
        Rule(
            "encoding",
            "warning",
            "The file begins with a byte order mark or has Windows line ends.",
            "Save it as UTF-8 without a byte order mark, with line feeds only; `--out` does.",
            safe=True,
        ),
        Rule(
            "control",
            "warning",
            "A field has control characters, which the model would learn to write.",
            "Remove them; `--out` does.",
            safe=True,
        ),
        Rule(
            "nfc",
            "warning",
            "A field has decomposed accents, so equal words differ.",
            "Normalise it to Unicode NFC; `--out` does.",
            safe=True,
        ),
        Rule(
            "white-space",
            "warning",
            "A field has Windows line ends, or white space at its ends or at line ends.",
            "Remove it; `--out` does.",
            safe=True,
        ),
        Rule(
            "html",
            "warning",
            "A field has HTML markup, which the model would learn to write.",
            "Write Markdown; `--out` turns the HTML into it.",
            safe=True,
        ),
        Rule(
            "mojibake",
            "warning",
            "A field was decoded wrongly (`â€™` for `’`), or has `\ufffd` for a lost character.",
            "Export it again as UTF-8, or repair it by hand.",
        ),
        Rule(
            "id",
            "error",
            "Two rows have the same id, so no report can tell them apart.",
            "Give each row a unique id.",
        ),
        Rule(
            "split",
            "error",
            "The split has an unknown name.",
            "Write train, validation or test, or leave it out.",
        ),
        Rule(
            "long-answer",
            "error",
            f"The answer has more than {ANSWER_TOKENS:,} tokens: it is several answers in one.",
            "Shorten it, or make several rows of it.",
        ),
        Rule(
            "long-row",
            "warning",
            f"Question, answer and context have over {ROW_TOKENS:,} tokens: training cuts them.",
            "Keep only the part of the context that supports the answer.",
        ),
        Rule(
            "short",
            "warning",
            f"The question or the answer has fewer than {FEWEST_TOKENS} tokens.",
            "Write a whole question and a whole answer.",
        ),
        Rule(
            "duplicate",
            "error",
            "The row repeats an earlier row, which then counts twice.",
            "Keep one of them; `--out` keeps the first, or the first validated row.",
            safe=True,
        ),
        Rule(
            "near-duplicate",
            "warning",
            "The question shares four fifths of its words with an earlier question.",
            "Keep the better row, unless the difference matters.",
        ),
        Rule(
            "contradiction",
            "error",
            "The same question has another answer in an earlier row.",
            "Decide which answer is right, and remove the other row.",
        ),
        Rule(
            "contaminated",
            "error",
            "A training row duplicates, nearly duplicates, or shares its cluster with a held-out "
            "row, so the evaluation would measure memorisation.",
            "Remove it from train; `--out` does.",
            safe=True,
        ),
        Rule(
            "contaminated-held-out",
            "error",
            "A validation row duplicates, nearly duplicates, or shares its cluster with a test "
            "row.",
            "Put both into the same split.",
        ),
        Rule(
            "contaminated-against",
            "error",
            "A row outside the test split duplicates, nearly duplicates, or shares its cluster "
            "with a row of an `--against` file.",
            "Remove it, or evaluate on other questions.",
        ),
        Rule(
            "prefix",
            "error",
            "The answer copies the beginning of its context, so a model learns to copy beginnings.",
            "Write an answer to the question, or put other text before the passage.",
        ),
        Rule(
            "page",
            "error",
            "The row names a page that the `--docs` folder does not have.",
            "Correct the path, or synchronise the folder.",
        ),
        Rule(
            "unsupported",
            "warning",
            "The gateway's check marks a sentence of the answer: no page that the row names "
            "supports it, and a model would learn to make unsupported claims.",
            "Name the page that supports it, or rewrite the answer with `askdocs dataset ground`.",
        ),
        Rule(
            "secret",
            "error",
            "A field seems to contain a key or a password, which the model would reveal to "
            "anybody.",
            "Replace it with a placeholder, and revoke it if it is real.",
        ),
        Rule(
            "personal",
            "warning",
            "A field has a person's email address.",
            "Replace it with `[email]`, unless it is public.",
        ),
        Rule(
            "language",
            "warning",
            "The row is in another language than most of the file.",
            "Translate it, or train another model on that language.",
        ),
        Rule(
            "refusals",
            "warning",
            f"Fewer than {REFUSALS:.0%} of the rows are unanswerable, so the model learns to "
            "answer always.",
            'Add questions that the wiki does not answer, with `"answerable": false`.',
        ),
    )
}


def shown(value: object, most: int = 60) -> str:
    """A value shortened to one line."""
    text = str(value)
    text = text if len(text) <= most else f"{text[:most]}..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
