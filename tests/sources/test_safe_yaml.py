"""YAML of a wiki: what stands for billions of values, or has no end, is refused at once."""

import pytest
import yaml

from core.errors import AskdocsError
from tests.sources.conftest import SITE, Write
from wiki.sources import safe_yaml
from wiki.sources.commonmark import front_matter
from wiki.sources.folder import Folder

_LEVELS = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
BOMB = "\n".join(["a0: &a0 [x]", *_LEVELS, "nav: *a11"])
_MERGES = [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 12)]
MERGED = "\n".join(["a0: &a0 {x: y}", *_MERGES])


@pytest.mark.parametrize("loader", [yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)])
@pytest.mark.parametrize("text", [BOMB, MERGED, "a: &a [*a]", "[" * 100_000])
def test_what_has_no_end_is_refused(text: str, loader: type) -> None:
    with pytest.raises((ValueError, yaml.YAMLError)):
        safe_yaml.load(text, loader)


@pytest.mark.parametrize("text", ["", "a: 1", "a: &a [1, 2]\nb: *a\nc: {<<: {d: 1}}", "- x", "x"])
def test_all_else_is_what_pyyaml_makes_of_it(text: str) -> None:
    assert safe_yaml.load(text, yaml.SafeLoader) == yaml.safe_load(text)


@pytest.mark.parametrize("text", [BOMB, MERGED])
def test_settings_and_front_matter_that_explode_are_no_settings(write: Write, text: str) -> None:
    assert front_matter(f"---\n{text}\n---\nText") == (["Text"], {})
    root = write({"mkdocs.yml": text, "docs/a.md": "Text"})
    with pytest.raises(AskdocsError, match=r"mkdocs\.yml: has more than 200,000 values"):
        list(Folder(root, SITE).read({}))
