"""The history of promotions, and what a rollback leads to."""

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from core.errors import AskdocsError
from gateway.routing import aliases, promotions
from gateway.routing.promotions import Action, Promotion, Targets, needed, previous
from gateway.settings import Alias

BASE: Targets = {"base": 1.0}
V7: Targets = {"docs@v7": 1.0}
V8: Targets = {"docs@v8": 1.0}
CANARY: Targets = {"docs@v7": 90.0, "docs@v8": 10.0}


def entries(*steps: tuple[Action, Targets, Targets]) -> list[Promotion]:
    return [Promotion("docs", *step, by="x", at=datetime.now(UTC)) for step in steps]


def test_nothing_was_promoted_so_nothing_is_rolled_back() -> None:
    assert previous([], BASE) is None


def test_a_rollback_leads_to_what_answered_before_and_a_second_one_further_back() -> None:
    told = entries(("promote", BASE, V7), ("promote", V7, V8))
    assert previous(told, V8) == V7
    told += entries(("rollback", V8, V7))
    assert previous(told, V7) == BASE
    told += entries(("rollback", V7, BASE))
    assert previous(told, BASE) is None


def test_a_rollback_ends_a_canary_and_leads_past_one_that_was_promoted() -> None:
    told = entries(("promote", BASE, V7), ("canary", V7, CANARY))
    assert previous(told, CANARY) == V7
    told += entries(("promote", CANARY, V8))
    assert previous(told, V8) == V7


def test_what_was_set_by_hand_comes_back_or_is_left() -> None:
    by_hand: Targets = {"spare": 1.0}
    told = entries(("promote", BASE, V7), ("promote", by_hand, V8))
    assert previous(told, V8) == by_hand
    assert previous(told, by_hand) == V8


def test_the_versions_of_an_alias_and_those_before_them_are_needed() -> None:
    told = entries(("promote", BASE, V7), ("promote", V7, V8))
    table = {"docs": Alias(targets=V8, fallback=("spare",)), "hr": Alias(targets={"hr@v1": 1})}
    assert needed(table, {"docs": told}) == {"docs@v8", "docs@v7", "spare", "hr@v1"}


@given(st.lists(st.sampled_from(["v1", "v2", "v3", "v4", "back"]), max_size=12))
def test_promotions_and_rollbacks_are_a_stack(steps: list[str]) -> None:
    told: list[Promotion] = []
    stack = [BASE]
    for step in steps:
        now = stack[-1]
        if step != "back":
            stack += [{step: 1.0}] if stack[-1] != {step: 1.0} else []
            told += entries(("promote", now, {step: 1.0}))
        elif len(stack) > 1:
            # Further back, the same version may stand twice: a rollback goes to the nearest.
            assert previous(told, now) == stack[-2]
            stack.pop()
            told += entries(("rollback", now, stack[-1]))
    assert previous(told, stack[-1]) == (stack[-2] if len(stack) > 1 else None)


def test_the_alias_and_the_line_about_it_are_written_together(stored: sa.Engine) -> None:
    before = aliases.DEFAULT["docs"]
    promotions.write(
        stored, "promote", "docs", None, before, V7, "ada", verdict={"passed": True}, why="tried"
    )
    assert aliases.stored(stored) == {"docs": Alias(targets=V7, grounding=True)}
    (entry,) = promotions.history(stored, "docs")
    assert (entry.action, entry.before, entry.after, entry.by) == ("promote", BASE, V7, "ada")
    assert (entry.verdict, entry.why) == ({"passed": True}, "tried")
    assert promotions.all_needed(stored, {}) == {"docs@v7", "base"}


def test_of_two_who_promote_at_once_the_second_is_reported(stored: sa.Engine) -> None:
    before = aliases.DEFAULT["docs"]
    promotions.write(stored, "promote", "docs", None, before, V7, "ada")
    with pytest.raises(AskdocsError, match="somebody else has changed the alias 'docs'"):
        promotions.write(stored, "promote", "docs", None, before, V8, "bob")
    assert aliases.stored(stored)["docs"].targets == V7
    assert len(promotions.history(stored, "docs")) == 1
