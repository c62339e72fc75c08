"""The listing of each package is its architecture: few entries, no cycles of imports."""

from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("gateway", "widget", "training", "eval", "askdocs")


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_has_at_most_a_dozen_entries(package: str) -> None:
    # Folders of an older layout stay behind with what Python compiled.
    files = (file for file in (ROOT / package).rglob("*") if file.is_file())
    places = (file.relative_to(ROOT / package).parts for file in files)
    entries = {place[0] for place in places if "__pycache__" not in place}
    assert len(entries) <= 12, sorted(entries)


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = grimp.build_graph(*PACKAGES)
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(f"a cycle: {' <- '.join(error.args[1])}")


def test_box_review_and_slack_stand_side_by_side() -> None:
    graph = grimp.build_graph("widget")
    box = {name for name in graph.modules if name.startswith("widget.box")}
    above = ("widget.review", "widget.slack")
    assert not [
        (name, other)
        for name in sorted(box)
        for other in sorted(graph.find_modules_directly_imported_by(name))
        if other.startswith(above)
    ]
