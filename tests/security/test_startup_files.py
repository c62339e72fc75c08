"""What runs at every start of a Python: in environments made up, and in those that are here."""

import subprocess
import sys
import venv
from pathlib import Path

import pytest

from askdocs.environments import startup_files
from askdocs.state.home import Home
from askdocs.supervision.doctor import examine
from askdocs.supervision.settings import UpSettings
from core.errors import AskdocsError
from tests.parts import require
from tests.security.conftest import REQUIREMENTS, ROOT

KNOWN = REQUIREMENTS / startup_files.FILE
SETUPTOOLS = next(line for file, line in startup_files.allowed(KNOWN) if "distutils" in file)


def site(environment: Path) -> Path:
    return environment / "lib" / "python3.12" / "site-packages"


def test_an_environment_without_any_has_none(environment: Path) -> None:
    assert startup_files.refuse(environment, KNOWN) == []


def test_what_is_known_passes_and_is_reported(environment: Path) -> None:
    (site(environment) / "distutils-precedence.pth").write_text(SETUPTOOLS + "\n")
    (found,) = startup_files.refuse(environment, KNOWN)
    assert found.file.name == "distutils-precedence.pth"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("litellm_init.pth", "import os; os.getpid()", "runs “import os; os.getpid()”"),
        ("distutils-precedence.pth", SETUPTOOLS + " evil()", "runs “import os; var"),
        ("distutils-precedence.pth", SETUPTOOLS + "\nimport evil", "runs “import evil”"),
        ("other.pth", SETUPTOOLS, "runs “import os; var"),
        ("tab.pth", "import\tevil", "runs “import"),
        ("bom.pth", "\ufeffimport evil", "runs “import evil”"),
        ("form-feed.pth", "folder\x0cimport evil", "runs “import evil”"),
        (".hidden.pth", "import evil", "runs “import evil”"),
        ("new.start", "evil.module:run", "runs “evil.module:run”"),
        ("away.pth", "/tmp", "makes Python import from /tmp"),
        ("up.pth", "../../../..", "makes Python import from"),
        ("sitecustomize.py", "", "is imported whenever Python starts"),
        ("usercustomize.cpython-312-x86_64-linux-gnu.so", "", "is imported whenever"),
    ],
)
def test_everything_else_is_refused_with_its_place_and_the_fix(
    environment: Path, name: str, text: str, said: str
) -> None:
    file = site(environment) / name
    file.write_text(text, encoding="utf-8")
    with pytest.raises(AskdocsError) as caught:
        startup_files.refuse(environment, KNOWN)
    message = str(caught.value)
    assert message.startswith(f"{file}: {said}")
    assert f"remove {environment} and set it up again" in message


def test_comments_folders_inside_and_files_without_effect_pass(environment: Path) -> None:
    (site(environment) / "sub").mkdir()
    (site(environment) / "fine.pth").write_text("# import evil\n\nsub\nimportant-folder\n")
    (site(environment) / "import.txt").write_text("import evil\n")
    (site(environment) / "sub" / "notes.pth").write_text("import evil\n")  # not a site folder
    assert startup_files.refuse(environment, KNOWN) == []


def test_a_module_in_a_folder_that_a_file_adds_is_found(environment: Path) -> None:
    (site(environment) / "sub").mkdir()
    (site(environment) / "fine.pth").write_text("sub\n")
    (site(environment) / "sub" / "sitecustomize").mkdir()
    with pytest.raises(AskdocsError, match="sub/sitecustomize: is imported"):
        startup_files.refuse(environment, KNOWN)


def test_the_packages_of_the_whole_system_are_refused(environment: Path) -> None:
    (environment / "pyvenv.cfg").write_text("include-system-site-packages = TRUE\n")
    with pytest.raises(AskdocsError, match="includes the system's packages"):
        startup_files.refuse(environment, KNOWN)


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(AskdocsError, match="no virtual environment"):
        startup_files.find(tmp_path)


def test_a_list_without_reasons_allows_nothing(environment: Path, tmp_path: Path) -> None:
    listed = tmp_path / "list.toml"
    listed.write_text('[[allowed]]\nfile = "a.pth"\nline = "import a"\nreason = ""\n')
    (site(environment) / "a.pth").write_text("import a\n")
    with pytest.raises(AskdocsError, match=r"a\.pth"):
        startup_files.refuse(environment, listed)
    listed.write_text("allowed = 1\n")
    with pytest.raises(AskdocsError, match="not a list of start-up files"):
        startup_files.refuse(environment, listed)


def test_python_runs_what_is_refused_here(tmp_path: Path) -> None:
    """The rules are those of a real interpreter, whichever runs the tests."""
    place = tmp_path / "real"
    venv.create(place, with_pip=False)
    assert startup_files.find(place) == []
    (packages,) = place.glob("lib/python*/site-packages")
    (packages / "evil.pth").write_text("import sys; sys.evil = True\n")
    (packages / "usercustomize.py").write_text("raise SystemExit\n")  # not with -s: no user site
    (packages / "sitecustomize.py").write_text("import sys; sys.worse = True\n")
    # Debian's Python has a sitecustomize of its own, which comes first.
    says = "import sys, sitecustomize as s; print(sys.evil, hasattr(sys, 'worse'), s.__file__)"
    asked: list[str | Path] = [place / "bin" / "python", "-c", says]
    evil, worse, customised = subprocess.check_output(asked, text=True).split()
    assert evil == "True"
    assert worse == str(Path(customised).is_relative_to(place))
    assert {one.file.name for one in startup_files.find(place)} == {
        "evil.pth",
        "usercustomize.py",
        "sitecustomize.py",
    }


def test_doctor_tells_good_and_bad(
    environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(environment))
    home = Home(tmp_path / "home")
    made = home.root / "environments" / "vllm"
    made.parent.mkdir(parents=True)
    (made / "lib" / "python3.12" / "site-packages").mkdir(parents=True)
    (made / "pyvenv.cfg").write_text("home = /usr/bin\n")

    def found() -> tuple[bool, str]:
        (check,) = [c for c in examine(UpSettings(), home) if c.name == "start-up"]
        return check.ok, check.line()

    assert found() == (
        True,
        "start-up: no unknown code runs when Python starts (0 known files, in 2 environments)",
    )
    bad = made / "lib" / "python3.12" / "site-packages" / "evil.pth"
    bad.write_text("import evil\n")
    ok, line = found()
    assert not ok
    assert line.startswith(f"start-up: {bad}: runs “import evil” whenever Python starts")


def test_the_command_names_every_environment_and_fails_on_one(environment: Path) -> None:
    command = [sys.executable, "-m", "askdocs.environments.startup_check"]
    good = subprocess.run([*command, environment], cwd=ROOT, capture_output=True, text=True)
    assert (good.returncode, good.stdout) == (0, f"{environment}: 0 known, nothing else\n")
    (site(environment) / "x.start").write_text("x:y")
    bad = subprocess.run([*command, environment], cwd=ROOT, capture_output=True, text=True)
    assert bad.returncode == 1
    assert bad.stderr.startswith("error: ")


def test_no_environment_of_this_checkout_runs_anything_unknown() -> None:
    places = sorted(
        config.parent
        for pattern in ("*/environments/*/pyvenv.cfg", "clients/*/venv/pyvenv.cfg")
        for config in (ROOT / ".cache").glob(pattern)
    )
    if (ROOT / ".venv" / "pyvenv.cfg").is_file():
        places.append(ROOT / ".venv")
    require(bool(places), "make setup")
    for place in places:
        startup_files.refuse(place, KNOWN)
