"""Bills of materials: by the real cyclonedx-py, against the schema of CycloneDX."""

import json
from importlib.metadata import version
from pathlib import Path

import pytest

from askdocs.environments.known_bad import normal, pins
from gateway.core.errors import AskdocsError
from scripts import sbom
from tests.security.conftest import REQUIREMENTS, ROOT
from tests.security.fuzzing import tool


@pytest.mark.slow
def test_a_bill_of_every_lock_has_its_packages_with_hashes_and_the_licences_that_are_known(
    tmp_path: Path,
) -> None:
    program = tool("cyclonedx-py")
    assert sbom.main(["--out", str(tmp_path)]) == 0
    locks = sorted(REQUIREMENTS.glob("*.lock"))
    assert len(list(tmp_path.iterdir())) == len(locks) >= 14
    for lock in locks:
        components = json.loads((tmp_path / f"{lock.stem}.cdx.json").read_text())["components"]
        found = [(normal(one["name"]), one["version"].partition("+")[0]) for one in components]
        assert sorted(found) == sorted(pins(lock))
        for one in components:
            assert one["purl"].startswith(f"pkg:pypi/{one['name']}@{one['version']}")
            assert any(place.get("hashes") for place in one["externalReferences"])

    text = (tmp_path / "setup.cdx.json").read_text()
    (uv,) = [one for one in json.loads(text)["components"] if one["name"] == "uv"]
    if (ROOT / ".venv").is_dir() and uv["version"] == version("uv"):
        assert uv["licenses"] == [{"expression": "MIT OR Apache-2.0"}]
    licences = sbom.installed([ROOT / ".venv"])
    assert sbom.bill(program, REQUIREMENTS / "setup.lock", licences) == text


@pytest.mark.slow
def test_what_is_no_bill_is_refused() -> None:
    python = tool("cyclonedx-py").with_name("python")
    with pytest.raises(AskdocsError, match="no bill of materials"):
        sbom.check(python, json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.6", "x": 1}))


@pytest.mark.parametrize(
    ("metadata", "licence"),
    [
        ("License-Expression: MIT", {"expression": "MIT"}),
        (
            "Classifier: License :: OSI Approved :: MIT License",
            {"license": {"name": "MIT License"}},
        ),
        ("License: BSD-3-Clause", {"license": {"name": "BSD-3-Clause"}}),
        ("Summary: nothing is said", None),
        (f"License: {'a whole text ' * 20}", None),
    ],
)
def test_a_licence_is_what_the_metadata_say(
    tmp_path: Path, metadata: str, licence: dict[str, object] | None
) -> None:
    info = tmp_path / "lib" / "python3.12" / "site-packages" / "some_thing-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.4\nName: Some.Thing\nVersion: 1.0\n{metadata}\n"
    )
    found = sbom.installed([tmp_path])
    assert found == ({("some-thing", "1.0"): licence} if licence else {})
