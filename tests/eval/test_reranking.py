"""How well pages are sorted again is measured as the field defines it."""

import math
from pathlib import Path

import pytest

from eval.studies import reranking
from eval.studies.reranking import FUSED, WAYS, measure, ndcg, table
from eval.studies.retrieval import prepare
from gateway.knowledge.search import embed
from tests.parts import require

PAGES = {
    "coffee": "# Coffee\n\nThe coffee machine stands in the kitchen on the second floor.\n",
    "refunds": "# Refunds\n\nRefunds are paid within five days by the bank.\n",
    "parking": "# Parking\n\nCars are parked behind the house; the gate opens with the badge.\n",
}


def test_ndcg_is_one_for_the_best_order_and_counts_places_by_their_logarithm() -> None:
    assert ndcg([True, False], 1) == 1
    assert ndcg([False, True], 1) == pytest.approx(1 / math.log2(3))
    assert ndcg([True, True, False], 2) == 1
    assert ndcg([False] * 5 + [True], 1) == 0
    # A page that answers and was not among those found is missed.
    assert ndcg([True], 2) == pytest.approx(1 / (1 + 1 / math.log2(3)))


def test_every_way_is_measured_on_a_wiki(tmp_path: Path) -> None:
    embedder = embed.load()
    require(embedder is not None, "the embedding model is not installed: run make setup")
    assert embedder is not None
    docs = tmp_path / "docs"
    docs.mkdir()
    for name, text in PAGES.items():
        (docs / f"{name}.md").write_text(text)
    prepare(docs, tmp_path / "index.db", embedder)
    rows = [
        {"question": "Where is the coffee machine?", "context_doc": "coffee.md"},
        {"question": "When are refunds paid?", "context_docs": ["refunds.md"]},
    ]
    found = measure(tmp_path / "index.db", rows, embedder)
    assert [one.name for one in found] == [*WAYS, FUSED]
    assert {one.ndcg.value for one in found} == {1.0}
    assert list(table(found))[2].startswith("| as the search found them | 1.000 (1.000-1.000) |")
    assert set(reranking.PARTS) <= set(WAYS)
