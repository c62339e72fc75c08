"""Groups questions for separate results: by type, page length, gold position, contamination."""

from collections.abc import Iterator, Sequence

from eval.scoring.mark import Mark

# Upper limits in tokens: pages that fit any prompt, that fill it, or that are cut.
LENGTHS = (500, 1_500, 4_000)


def groups(marks: Sequence[Mark]) -> dict[str, dict[str, list[Mark]]]:
    """The marks of answerable questions, by grouping and group.

    Positions are those of the gold page in this system's own prompt.
    """
    by_group: dict[str, dict[_Group, list[Mark]]] = {}
    for mark in marks:
        if mark.question.answerable:
            for by, group in _places(mark):
                by_group.setdefault(by, {}).setdefault(group, []).append(mark)
    return {
        by: {name: inner[rank, name] for rank, name in sorted(inner)}
        for by, inner in by_group.items()
    }


_Group = tuple[int, str]
"""Sort key and name of a group."""


def _places(mark: Mark) -> Iterator[tuple[str, _Group]]:
    yield "type", (0, mark.question.type)
    yield "page", _length(mark.question.page_tokens)
    if mark.answer.prompt_pages:
        yield "position", _position(mark.position)
    yield "contaminated", (0, "yes" if mark.question.contaminated else "no")


def _length(tokens: int | None) -> _Group:
    if tokens is None:
        return len(LENGTHS) + 1, "unknown"
    for rank, top in enumerate(LENGTHS):
        if tokens <= top:
            return rank, f"up to {top:,} tokens"
    return len(LENGTHS), f"over {LENGTHS[-1]:,} tokens"


def _position(position: int | None) -> _Group:
    if position is None:
        return 7, "not in the prompt"
    return (position, str(position)) if position <= 5 else (6, "6 or later")
