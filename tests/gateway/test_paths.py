"""A page named by a file of questions."""

import pytest

from wiki.search.paths import Paths


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("guide/mail.md", "guide/mail.md"),
        ("docs/guide/mail.md", "guide/mail.md"),
        ("./guide/mail.md", "guide/mail.md"),
        ("/guide/mail.md#send", "guide/mail.md"),
        ("setup.md", "deep/setup.md"),
        ("docs/setup.md", "deep/setup.md"),
        ("kb/backup.md", "backup.html"),
        ("install.md", None),  # there are two
        ("mac/install.md", "mac/install.md"),
        ("other.md", None),
        ("", None),
        ("/", None),
    ],
)
def test_a_page_is_found_by_a_name_that_means_only_it(name: str, path: str | None) -> None:
    paths = ["guide/mail.md", "deep/setup.md", "backup.html", "mac/install.md", "win/install.md"]
    assert Paths(paths).find(name) == path
