"""The listing of each package is its architecture: few entries, no cycles of imports."""

import subprocess
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("askdocs", "training", "eval", "widget", "gateway", "wiki", "core")

# Lines of Python, which only fall: whoever takes lines away lowers the number, and a commit that
# raises one says why.
CAPS = {
    "askdocs": 17_600,
    "training": 9_100,
    "eval": 9_000,
    "widget": 10_750,
    "gateway": 24_250,
    "wiki": 20_000,
    "core": 2_250,
    "tests": 82_500,
}
PRODUCT = 90_000  # all packages, without tests and research


def lines(folder: str) -> int:
    """Of the files that Git knows, or would add."""
    command = ["git", "ls-files", "-co", "--exclude-standard", "--", f"{folder}/*.py"]
    known = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    files = [ROOT / name for name in known.stdout.splitlines()]
    return sum(file.read_bytes().count(b"\n") for file in files if file.is_file())


@pytest.mark.parametrize("folder", CAPS)
def test_a_folder_has_no_more_lines_than_its_cap(folder: str) -> None:
    assert 0 < lines(folder) <= CAPS[folder]


def test_the_product_has_no_more_lines_than_its_cap() -> None:
    assert sum(map(lines, PACKAGES)) <= PRODUCT


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_has_at_most_a_dozen_entries(package: str) -> None:
    # Folders of an older layout stay behind with what Python compiled.
    files = (file for file in (ROOT / package).rglob("*") if file.is_file())
    places = (file.relative_to(ROOT / package).parts for file in files)
    entries = {place[0] for place in places if "__pycache__" not in place}
    entries.discard("__init__.py")
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
