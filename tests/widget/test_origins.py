import pytest

from core.errors import AskdocsError
from core.settings import load
from widget.access.origins import web_address, within
from widget.settings import WidgetSettings


@pytest.mark.parametrize(
    ("url", "inside"),
    [
        ("https://wiki.example.com/a?b#c", True),
        ("HTTPS://WIKI.example.com:443/", True),
        ("http://wiki.example.com/", False),
        ("https://wiki.example.com:8443/", False),
        ("https://wiki.example.com.evil.example/", False),
        ("https://wiki.example.com@evil.example/", False),
        ("https://docs.other.example/", True),
        ("https://a.b.other.example/", True),
        ("https://other.example/", False),
        ("http://127.0.0.1:8000/x", True),
        ("javascript:alert(1)", False),
        ("", False),
    ],
)
def test_within_follows_the_rules_of_csp(url: str, inside: bool) -> None:
    origins = ("https://wiki.example.com", "https://*.other.example", "http://127.0.0.1:8000")
    assert within(url, origins) is inside


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "//x.example", "https:x", "https://a b/", "http://[", "ftp://x", "a"],
)
def test_only_web_addresses_pass(url: str) -> None:
    assert web_address(url) == ""


@pytest.mark.parametrize(
    "origin", ["https://wiki.example.com/", "wiki.example.com", "*", "https://a.b; script-src *"]
)
def test_an_origin_that_would_match_nothing_is_an_error_with_the_fix(origin: str) -> None:
    with pytest.raises(AskdocsError, match="write scheme://host"):
        load(WidgetSettings, env={"ASKDOCS_WIDGET_ORIGINS": origin})
