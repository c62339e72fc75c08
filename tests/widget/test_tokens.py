"""The token of a box: who signs it, and for how long it is taken."""

import pytest

from widget.access.tokens import BadToken, Claims, Tokens

PAGE = "https://wiki.example.com/vpn/"


def test_a_token_lives_through_a_rotation_of_the_secret() -> None:
    old, both, new = Tokens("old"), Tokens("new", "old"), Tokens("new")
    token = old.make(PAGE, Claims(conversation="c"))
    assert both.read(token, PAGE).conversation == "c"
    with pytest.raises(BadToken):
        new.read(token, PAGE)
    renewed = both.renew(token, PAGE)
    assert new.read(renewed, PAGE).conversation == "c"  # signed by the new one, and says as much
    with pytest.raises(BadToken):
        old.read(renewed, PAGE)
