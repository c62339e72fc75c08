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
    """Does `askdocs dataset fix` fix it?"""


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
            "The line is not a JSON object in UTF-8, so nothing in it is learnt.",
            "Write one JSON object a line, saved as UTF-8; `fix` leaves the line out.",
            safe=True,
        ),
        Rule(
            "field",
            "error",
            "A field is missing, empty or of the wrong type.",
            "Write what the message says, or name the field with `--field`; `fix` leaves it out.",
            safe=True,
        ),
        Rule(
            "encoding",
            "warning",
            "The file begins with a byte order mark or has Windows line ends.",
            "Save it as UTF-8 without a mark, with line feeds alone; `fix` does.",
            safe=True,
        ),
        Rule(
            "control",
            "warning",
            "A text has control characters, which the model would learn to write.",
            "Take them out; `fix` does.",
            safe=True,
        ),
        Rule(
            "nfc",
            "warning",
            "A text writes accents as characters of their own, so equal words differ.",
            "Normalise it to Unicode's NFC; `fix` does.",
            safe=True,
        ),
        Rule(
            "white-space",
            "warning",
            "A text has Windows line ends, or white space at its ends or the ends of its lines.",
            "Take it away; `fix` does.",
            safe=True,
        ),
        Rule(
            "html",
            "warning",
            "A text has HTML markup, which the model would learn to write.",
            "Write Markdown; `fix` turns the HTML into it.",
            safe=True,
        ),
        Rule(
            "mojibake",
            "warning",
            "A text was decoded wrongly (`â€™` for `’`), or has `\ufffd` for a lost character.",
            "Export it again as UTF-8, or repair the text by hand.",
        ),
        Rule(
            "id",
            "error",
            "Two rows have the same id, so no report can tell them apart.",
            "Give each row an id of its own.",
        ),
        Rule(
            "split",
            "error",
            "The split is a word that nothing else uses.",
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
            "Take the part of the context that the answer stands on.",
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
            "The row says the same as an earlier one, which then counts twice.",
            "Keep one; `fix` keeps the first, or the first that is validated.",
            safe=True,
        ),
        Rule(
            "near-duplicate",
            "warning",
            "The question has four fifths of its words in common with an earlier one.",
            "Keep the better one, unless the difference matters.",
        ),
        Rule(
            "contradiction",
            "error",
            "The question was asked before and has another answer there.",
            "Decide which answer is right, and take the other row out.",
        ),
        Rule(
            "leak",
            "error",
            "A row to train on is, almost is, or shares its cluster with a row that is held out, so"
            " the evaluation would measure memory.",
            "Take it out of train; `fix` does.",
            safe=True,
        ),
        Rule(
            "leak-held-out",
            "error",
            "A validation row is, almost is, or shares its cluster with a test row.",
            "Put both into one of the two splits.",
        ),
        Rule(
            "leak-against",
            "error",
            "A row that is not of the test split is, almost is, or shares its cluster with one in a"
            " file of `--against`.",
            "Take it out, or evaluate on other questions.",
        ),
        Rule(
            "prefix",
            "error",
            "The answer is how its context begins, so a model learns to copy beginnings.",
            "Write an answer to the question, or put other text in front of the passage.",
        ),
        Rule(
            "page",
            "error",
            "The row names a page that the folder of `--docs` has not.",
            "Correct the path, or synchronise the folder.",
        ),
        Rule(
            "unsupported",
            "warning",
            "The gateway's check marks a sentence of the answer: no page that the row names says"
            " it, and a model would learn to write what no page says.",
            "Name the page that says it, or have it rewritten by `askdocs dataset ground`.",
        ),
        Rule(
            "secret",
            "error",
            "A text has what looks like a key or a password, which the model would tell anybody.",
            "Replace it with a placeholder, and revoke it if it is real.",
        ),
        Rule(
            "personal",
            "warning",
            "A text has somebody's email address.",
            "Replace it with `[email]`, unless everybody may know it.",
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
            f"Fewer than {REFUSALS:.0%} of the rows teach to refuse, so the model learns to always"
            " answer.",
            'Add questions that the wiki does not answer, with `"answerable": false`.',
        ),
    )
}


def shown(value: object, most: int = 60) -> str:
    """A value shortened to one line."""
    text = str(value)
    text = text if len(text) <= most else f"{text[:most]}..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
