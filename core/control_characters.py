"""Removes control characters from external text before it is stored or shown.

Terminals obey them: they clear the screen, forge lines and fill the clipboard of a person who lists
questions or pages. https://cwe.mitre.org/data/definitions/150.html
"""

import re

# Except tabs and line ends. From 0x80, these are ISO 6429's: ESC and a letter in one character.
CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def without(text: str) -> str:
    """Removes control characters from the text."""
    return CONTROLS.sub("", text)
