"""Writes CSV that spreadsheets cannot interpret as formulas.

https://owasp.org/www-community/attacks/CSV_Injection: cells that begin with one of these characters
get an apostrophe in front, and every cell is quoted. Readers write what is exported here.
"""

import csv
import io
from collections.abc import Iterable, Sequence

# The full-width forms are formulas to spreadsheets of East Asian editions.
BEGINS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def safe(value: object) -> object:
    """The value as a cell; numbers stay numbers."""
    if isinstance(value, int | float):
        return value
    text = "" if value is None else str(value)
    # Some programs cut white space away before they look.
    return f"'{text}" if text.startswith(BEGINS) or text.lstrip().startswith(BEGINS) else text


def write(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """The rows as text, with a byte order mark, without which Excel reads no UTF-8."""
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(head)
    writer.writerows([safe(value) for value in row] for row in rows)
    return "\ufeff" + text.getvalue()
