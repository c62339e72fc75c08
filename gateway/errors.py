"""Errors that a person can act on. Libraries raise them; the command line prints one line."""


class AskdocsError(Exception):
    """What is wrong, with the value, the place and the fix, as one sentence or two."""


class SettingsError(AskdocsError):
    """A setting that is unknown, of the wrong type, or in the wrong place."""
