import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from widget.text.colour import DARK, ENOUGH, LIGHT, accent, contrast


def test_contrast_is_that_of_wcag() -> None:
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((0x77, 0x77, 0x77), (255, 255, 255)) == pytest.approx(4.48, abs=0.005)


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_every_colour_becomes_readable_on_both_grounds(colour: tuple[int, int, int]) -> None:
    found = re.fullmatch(r"light-dark\(#(\w{6}), #(\w{6})\)", accent(bytes(colour).hex()))
    assert found
    for digits, ground in zip(found.groups(), (LIGHT, DARK), strict=True):
        red, green, blue = bytes.fromhex(digits)
        assert contrast((red, green, blue), ground) >= ENOUGH


def test_a_colour_that_can_be_read_stays() -> None:
    assert accent("#2f4fc4").startswith("light-dark(#2f4fc4,")
    assert accent("123") == accent("112233")


@pytest.mark.parametrize("colour", ["", "red", "#12345", "url(x)", "12345g", "#2f4fc4;x", "１２３"])
def test_what_is_no_colour_is_left_out(colour: str) -> None:
    assert accent(colour) == ""
