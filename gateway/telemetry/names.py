"""Sanitises names for usage, metrics and logs."""


def storable(text: str) -> str:
    """`text` as every database and file takes it: half a surrogate pair and NUL become `?`."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "?")
