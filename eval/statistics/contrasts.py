"""The contrasts of an evaluation run: its hypotheses, declared before the first question.

They are tested as one family (Holm), only by correctness. Every other comparison in a report is
exploratory.
"""

from collections.abc import Sequence

from eval.systems.systems import METHODS

Contrast = tuple[str, str]
"""Two systems: the first minus the second."""


def declared(systems: Sequence[str]) -> tuple[Contrast, ...]:
    """The contrasts that a run of these systems can test.

    The effect of training for each way of reading (tuned minus base with pages, RAG, the gold page,
    and nothing), and the product minus RAG.
    """
    product = next((name for name in ("tuned-pages", "base-pages") if name in systems), "")
    wanted = [
        *((f"tuned-{method}", f"base-{method}") for method in METHODS),
        (product, "base-rag"),
    ]
    return tuple(pair for pair in wanted if set(pair) <= set(systems))
