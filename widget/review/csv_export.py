"""Writes CSV that spreadsheets cannot interpret as formulas.

https://owasp.org/www-community/attacks/CSV_Injection: cells that begin with one of these characters
are prefixed with an apostrophe, and every cell is quoted. Readers write the exported text.
"""

import csv
import io
from collections.abc import Iterable, Sequence

# East Asian editions of spreadsheets also evaluate the full-width forms.
BEGINS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def safe(value: object) -> object:
    """The value as a cell; numbers stay numbers."""
    if isinstance(value, int | float):
        return value
    text = "" if value is None else str(value)
    # Some programs strip white space first.
    return f"'{text}" if text.startswith(BEGINS) or text.lstrip().startswith(BEGINS) else text


def write(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """The rows as text, with the byte order mark that Excel needs to read UTF-8."""
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(head)
    writer.writerows([safe(value) for value in row] for row in rows)
    return "\ufeff" + text.getvalue()
