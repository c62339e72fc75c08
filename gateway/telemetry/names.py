"""Sanitises names for usage, metrics and logs."""


def storable(text: str) -> str:
    """Makes `text` valid for every database and file: unpaired surrogates and NUL become `?`."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "?")
