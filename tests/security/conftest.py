"""Where the lists and lock files are."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements"


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """The bones of a virtual environment."""
    place = tmp_path / "env"
    (place / "lib" / "python3.12" / "site-packages").mkdir(parents=True)
    (place / "lib64").symlink_to("lib")
    (place / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    return place
