"""Aliases: weights, stickiness, fallback, and what makes a table unusable."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.routing.aliases import DEFAULT, Table
from gateway.settings import Alias


def table(**aliases: Alias) -> Table:
    return Table(aliases)


def test_docs_is_base_with_grounding_when_nobody_says_otherwise() -> None:
    route = Table(DEFAULT).route("docs")
    assert (route.candidates, route.grounding) == (("base",), True)


def test_a_model_is_reached_by_its_own_name_ungrounded_and_alone() -> None:
    route = Table(DEFAULT).route("docs@v7")
    assert (route.alias, route.candidates, route.grounding) == ("docs@v7", ("docs@v7",), False)


def test_weights_are_kept_over_many_users_and_a_user_stays_where_he_is() -> None:
    one = table(docs=Alias(targets={"docs@v7": 90, "docs@v8": 10}))
    users = [f"user-{n}" for n in range(5000)]
    first = [one.route("docs", user).candidates[0] for user in users]
    assert first == [one.route("docs", user).candidates[0] for user in users]
    assert 400 < Counter(first)["docs@v8"] < 600


def test_a_growing_canary_takes_users_over_and_gives_none_back() -> None:
    small = table(docs=Alias(targets={"v7": 90, "v8": 10}))
    large = table(docs=Alias(targets={"v7": 50, "v8": 50}))
    for user in map(str, range(1000)):
        if small.route("docs", user).candidates == ("v8",):
            assert large.route("docs", user).candidates == ("v8",)


def test_without_a_user_the_weights_hold_over_requests() -> None:
    one = table(docs=Alias(targets={"v7": 1, "v8": 1}))
    assert 400 < Counter(one.route("docs").candidates[0] for _ in range(1000))["v8"] < 600


def test_a_target_of_weight_nothing_is_never_asked() -> None:
    one = table(docs=Alias(targets={"v7": 0, "v8": 1, "v9": 0}))
    assert {one.route("docs").candidates for _ in range(200)} == {("v8",)}


def test_fallback_is_asked_in_order_through_other_aliases_and_nobody_twice() -> None:
    one = table(
        docs=Alias(targets="v7", fallback=("spare", "team", "cloud")),
        team=Alias(targets="base", fallback=("spare", "cloud")),
    )
    assert one.route("docs").candidates == ("v7", "spare", "base", "cloud")
    assert one.models("docs") == {"v7", "spare", "base", "cloud"}


def test_the_instructions_are_those_of_the_alias_that_was_asked_whoever_answers() -> None:
    one = table(
        hr=Alias(targets="hr@v1", fallback=("docs",), instructions="Answer for the HR team."),
        docs=Alias(targets="base", instructions="Answer for everybody."),
    )
    route = one.route("hr")
    assert (route.candidates, route.instructions) == (
        ("hr@v1", "base"),
        "Answer for the HR team.",
    )
    assert one.route("hr@v1").instructions == ""


@given(st.dictionaries(st.text(min_size=1), st.floats(0, 1e6), min_size=1), st.text(min_size=1))
def test_some_target_with_a_weight_is_always_chosen(weights: dict[str, float], user: str) -> None:
    if not sum(weights.values()):
        return
    chosen = table(docs=Alias(targets=weights)).route("docs", user).candidates[0]
    assert weights[chosen] > 0


@pytest.mark.parametrize(
    ("aliases", "key", "words"),
    [
        ({"docs": Alias(targets="nobody")}, "targets", "no model 'nobody'; there are base, spare"),
        ({"docs": Alias(targets="base", fallback=("x",))}, "fallback", "no model or alias 'x'"),
        ({"docs": Alias(targets="base", fallback=("docs",))}, "fallback", "docs -> docs"),
        ({"base": Alias(targets="spare")}, "targets", "the name of a model"),
        (
            {"docs": Alias(targets="base"), "hr": Alias(targets="docs")},
            "targets",
            "'docs' is an alias",
        ),
        (
            {
                "a": Alias(targets="base", fallback=("b",)),
                "b": Alias(targets="base", fallback=("spare", "c")),
                "c": Alias(targets="base", fallback=("a",)),
            },
            "fallback",
            "a -> b -> c -> a",
        ),
    ],
)
def test_a_table_that_cannot_work_says_why(aliases: dict[str, Alias], key: str, words: str) -> None:
    first = Table(aliases).problems(["base", "spare"])[0]
    assert first.key == key
    assert words in first.message


def test_a_diamond_is_no_circle() -> None:
    aliases = {
        "a": Alias(targets="base", fallback=("b", "c")),
        "b": Alias(targets="base", fallback=("d",)),
        "c": Alias(targets="base", fallback=("d",)),
        "d": Alias(targets="base"),
    }
    assert Table(aliases).problems(["base"]) == []


@pytest.mark.parametrize("targets", [{}, {"a": -1}, {"a": 0}, {"a": float("nan")}])
def test_weights_that_mean_nothing_are_refused(targets: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Alias(targets=targets)
