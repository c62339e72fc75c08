"""What a run ends with when something is wrong."""


class Problem(Exception):
    """One line: what is wrong, where, and what to do."""
