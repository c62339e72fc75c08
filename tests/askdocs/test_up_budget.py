"""How much of the pages is read for a question."""

import pytest

from askdocs.supervision.budget import BESIDE, page_budget, prefill_page


@pytest.mark.parametrize("rate", [80.0, 264.0, 2000.0, 50_000.0])
@pytest.mark.parametrize("context", [8192, 32_768])
def test_a_page_is_read_in_time_and_a_warm_one_may_be_larger(rate: float, context: int) -> None:
    cold, warm = page_budget(rate, 5.0, context), prefill_page(rate, 5.0, context)
    assert cold == 300 or (cold + BESIDE) / rate <= 3.5  # the rest is for a first sentence
    assert warm == 0 or (warm + BESIDE) / rate <= 5.0
    assert max(cold, warm) < context - 1000
    assert warm >= cold or cold == 300


def test_a_machine_that_hardly_reads_still_gets_a_page() -> None:
    assert (page_budget(20, 5.0, 8192), prefill_page(20, 5.0, 8192)) == (300, 0)
