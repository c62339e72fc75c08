"""Bills of materials: by the real cyclonedx-py, against the schema of CycloneDX."""

import json
from importlib.metadata import version
from pathlib import Path

import pytest

from askdocs import known_bad
from gateway.errors import AskdocsError
from scripts import sbom
from tests.security.conftest import REQUIREMENTS, ROOT
from tests.security.fuzzing import tool


@pytest.mark.slow
def test_a_bill_has_every_package_with_hashes_and_the_licences_that_are_known() -> None:
    program = tool("cyclonedx-py")
    lock = REQUIREMENTS / "setup.lock"
    licences = sbom.installed([ROOT / ".venv"])
    text = sbom.bill(program, lock, licences)
    sbom.check(program.with_name("python"), text)

    components = {one["name"]: one for one in json.loads(text)["components"]}
    assert {(n, one["version"]) for n, one in components.items()} == set(known_bad.pins(lock))
    for name, one in components.items():
        assert one["purl"].startswith(f"pkg:pypi/{name}@{one['version']}")
        assert any(place.get("hashes") for place in one["externalReferences"])
    if (ROOT / ".venv").is_dir() and components["uv"]["version"] == version("uv"):
        assert components["uv"]["licenses"] == [{"expression": "MIT OR Apache-2.0"}]
    assert sbom.bill(program, lock, licences) == text


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
