"""The exception that ends a run."""


class Problem(Exception):
    """One line: what is wrong, where, and what to do."""
