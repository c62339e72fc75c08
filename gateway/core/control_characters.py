"""Removes control characters from external text before it is stored or shown.

A terminal obeys them: they clear its screen, forge its lines and fill the clipboard of whoever
lists questions or pages there. https://cwe.mitre.org/data/definitions/150.html
"""

import re

# Not tabs and ends of lines. From 0x80 on they are those of ISO 6429, ESC and a letter in one.
CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def without(text: str) -> str:
    """The text without them."""
    return CONTROLS.sub("", text)
