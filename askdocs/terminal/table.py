"""Prints a table in the terminal."""

from rich.cells import cell_len

from core.control_characters import without


def show(head: list[str], rows: list[list[str]], numbers: int = 0) -> None:
    """Print at full width, since a truncated id helps nobody; the last `numbers` columns are
    counts."""
    rows = [[without(text) for text in row] for row in rows]
    widths = [max(cell_len(row[place]) for row in [head, *rows]) for place in range(len(head))]
    for row in [head, *rows]:
        cells = []
        for place, (text, width) in enumerate(zip(row, widths, strict=True)):
            space = " " * (width - cell_len(text))
            cells.append(space + text if place >= len(head) - numbers else text + space)
        print("  ".join(cells).rstrip())
