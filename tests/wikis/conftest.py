"""One browser for the tests of a file; where it lives longer, tests that await cannot run."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.wikis.host import browsing


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as browser:
        yield browser
