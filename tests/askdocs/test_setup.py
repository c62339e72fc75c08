"""Set-up, in copies of what it reads; the real installation in one slow test."""

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import IO

import pytest

from tests.askdocs.conftest import ROOT
from tests.waiting import until

CODE = (
    "askdocs",
    "core",
    "eval",
    "gateway",
    "requirements",
    "scripts",
    "training",
    "widget",
    "wiki",
)
FILES = ("LICENSE", "Makefile", "README.md", "pyproject.toml")


def module(root: Path) -> ModuleType:
    """The set-up of this copy, imported."""
    spec = importlib.util.spec_from_file_location("askdocs_setup", root / "scripts" / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def run(*command: object, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    # `make test` runs this, and a make in a make takes over its options and says where it is.
    taken_over = ("MAKE", "MFLAGS", "PYTHON")
    own = {name: value for name, value in os.environ.items() if not name.startswith(taken_over)}
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=own | env,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What set-up and make read, elsewhere."""
    root = tmp_path / "copy"
    root.mkdir()
    for name in ("requirements", "scripts"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, root)
    return root


@pytest.fixture
def done(copy: Path) -> Path:
    """A copy whose marker says that all is installed."""
    setup = module(copy)
    setup.MARKER.parent.mkdir()
    setup.MARKER.write_text(setup.digest(["askdocs", "model"]))
    return copy


def test_nothing_is_complete_before_the_marker_is_there(copy: Path) -> None:
    setup = module(copy)
    assert not setup.is_complete(["askdocs", "model"])
    setup.VENV.mkdir()
    assert not setup.is_complete(["askdocs", "model"])
    setup.MARKER.touch()  # by a kill in the middle of writing, were it not renamed into place
    assert not setup.is_complete(["askdocs", "model"])


def test_what_set_up_looks_at_first_needs_no_package() -> None:
    code = "import setup; setup.refuse_bad(['askdocs']); setup.part('startup_files')"
    done = run(sys.executable, "-S", "-c", code, cwd=ROOT / "scripts")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_complete_set_up_is_complete_for_what_it_was_made_for(done: Path) -> None:
    setup = module(done)
    assert setup.is_complete(["askdocs", "model"])
    assert not setup.is_complete(["dev", "model"])


@pytest.mark.parametrize("name", ["setup.lock", "askdocs.lock", "model.lock"])
def test_a_changed_lock_makes_it_incomplete(done: Path, name: str) -> None:
    with (done / "requirements" / name).open("a") as file:
        file.write("# changed\n")
    assert not module(done).is_complete(["askdocs", "model"])


def test_changed_metadata_and_a_moved_folder_make_it_incomplete(done: Path) -> None:
    moved = done.with_name("moved")
    shutil.copytree(done, moved)
    assert not module(moved).is_complete(["askdocs", "model"])
    with (done / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    assert not module(done).is_complete(["askdocs", "model"])


def test_a_lock_of_something_else_leaves_it_complete(done: Path) -> None:
    (done / "requirements" / "other.lock").write_text("x==1\n")
    assert module(done).is_complete(["askdocs", "model"])


def test_a_second_set_up_does_nothing_and_says_nothing(done: Path) -> None:
    began = time.monotonic()
    again = run(sys.executable, "scripts/setup.py", cwd=done)
    assert time.monotonic() - began < 60
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


def test_what_the_tests_need_is_enough_for_running(copy: Path) -> None:
    setup = module(copy)
    setup.MARKER.parent.mkdir()
    setup.MARKER.write_text(setup.digest(["dev", "model"]))
    again = run(sys.executable, "scripts/setup.py", cwd=copy)
    assert (again.returncode, again.stdout) == (0, "")


def test_a_second_set_up_waits_for_the_first_and_says_so(done: Path) -> None:
    with (done / ".setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = [sys.executable, "scripts/setup.py"]
        with subprocess.Popen(command, cwd=done, stdout=subprocess.PIPE, text=True) as second:
            assert second.stdout is not None
            assert second.stdout.readline() == (
                "setup: another set-up is running here; waiting for it\n"
            )
            assert second.poll() is None
            fcntl.flock(lock, fcntl.LOCK_UN)
            assert second.wait(60) == 0


@pytest.mark.parametrize("way", ["run(command)", "watched(command, dict(os.environ))"])
def test_an_installer_that_outlives_a_killed_set_up_keeps_the_next_one_waiting(
    copy: Path, way: str
) -> None:
    waits, began = copy / "waits", copy / "began"
    waits.touch()
    installer = f"import os, time\nopen({str(began)!r}, 'w').close()\n"
    installer += f"while os.path.exists({str(waits)!r}): time.sleep(0.02)"
    code = f"""
import os, sys
sys.path.insert(0, "scripts")
sys.argv = ["setup.py"]
import setup
command = [sys.executable, "-c", {installer!r}]
setup.set_up = lambda dev: setup.{way}
setup.main()
"""
    first = subprocess.Popen([sys.executable, "-c", code], cwd=copy)
    until(began.exists)
    first.kill()
    first.wait()
    with (copy / ".setup.lock").open("w") as lock:
        assert not take(lock)
        waits.unlink()
        until(lambda: take(lock))


def take(lock: IO[str]) -> bool:
    """Take the lock, if it can be had."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


AS_ANOTHER = """
import platform, runpy, sys
sys.argv = ["scripts/setup.py"]
{change}
runpy.run_path("scripts/setup.py", run_name="__main__")
"""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("sys.version_info = (3, 10, 12)", "askdocs needs Python 3.11 or newer"),
        ("platform.machine = lambda: 'aarch64'", "askdocs runs on Linux x86-64; this is linux"),
        ("sys.platform = 'darwin'", "askdocs runs on Linux x86-64; this is darwin"),
    ],
)
def test_a_machine_that_it_is_not_for_is_refused_with_the_fix(
    copy: Path, change: str, said: str
) -> None:
    refused = run(sys.executable, "-c", AS_ANOTHER.format(change=change), cwd=copy)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"setup: {said}")
    assert refused.stderr.count("\n") == 1
    assert ": install a newer one" in refused.stderr or ": use a Linux" in refused.stderr
    assert not (copy / ".venv").exists()


def test_the_script_is_python_that_3_10_can_read() -> None:
    import ast

    ast.parse((ROOT / "scripts" / "setup.py").read_text(), feature_version=(3, 8))


def test_a_full_disk_is_refused_before_anything_is_made(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = module(copy)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1.2e9))
    with pytest.raises(SystemExit, match=r"1\.2 GB are free in .*, and set-up needs 3 GB"):
        setup.set_up(False)
    assert not setup.VENV.exists()


def test_a_python_without_venv_uv_and_virtualenv_names_the_package(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = module(copy)
    monkeypatch.setattr(setup, "works", lambda command: False)
    monkeypatch.setenv("PATH", str(copy))
    with pytest.raises(SystemExit, match=r"sudo apt-get install python3\.\d+-venv"):
        setup.make_venv()


def test_a_step_that_fails_is_named(copy: Path) -> None:
    with pytest.raises(SystemExit, match="this failed: false -x"):
        module(copy).run(["false", "-x"])


def test_without_internet_one_line_says_so(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    setup = module(copy)
    setup.PYTHON = sys.executable
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with pytest.raises(SystemExit, match="setup: there is no internet here"):
        setup.pip("--no-cache-dir a-package-that-no-index-has==1")
    assert capfd.readouterr() == ("", "")


def test_make_alone_lists_its_targets() -> None:
    listed = run("make", "--no-print-directory", cwd=ROOT)
    assert listed.returncode == 0
    names = [line.split()[0] for line in listed.stdout.splitlines()]
    assert {"help", "setup", "run", "test", "test-fast", "lint"} <= set(names)
    for line in listed.stdout.splitlines():
        assert len(line.split()) > 2


def test_make_without_a_python_says_which_one_to_install(copy: Path) -> None:
    refused = run("make", "setup", "PYTHON=", cwd=copy)
    assert refused.returncode != 0
    assert refused.stderr.startswith("askdocs needs Python 3.11 or newer, and found none on PATH")
    assert "make PYTHON=/path/to/python3" in refused.stderr
    assert not (copy / ".venv").exists()


@pytest.fixture
def old_pythons(tmp_path: Path) -> Path:
    """A PATH where python3 is too old, and a newer one lies beside it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "python3").write_text("#!/bin/sh\nexit 1\n")
    (folder / "python3.12").write_text(
        '#!/bin/sh\ncase "$1" in -c) exit 0;; *) echo "3.12 runs $*";; esac\n'
    )
    for tool in ("make", "sh", "test"):
        (folder / tool).symlink_to(shutil.which(tool) or "")
    for name in ("python3", "python3.12"):
        (folder / name).chmod(0o755)
    return folder


def test_make_takes_a_newer_python_where_python3_is_too_old(copy: Path, old_pythons: Path) -> None:
    ran = run("make", "setup", cwd=copy, PATH=str(old_pythons))
    assert ran.stdout == "3.12 runs scripts/setup.py\n", ran.stderr


@pytest.mark.slow
def test_a_set_up_that_was_killed_goes_on_and_ends_with_a_command_that_works(
    tmp_path: Path,
) -> None:
    root = tmp_path / "real"
    root.mkdir()
    for name in CODE:
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, root)
    command = [sys.executable, "scripts/setup.py"]
    # Once with all that it had started, once alone, so that the installer is still at work.
    for step, kill in (("1/3", os.killpg), ("2/3", os.killpg), ("2/3", os.kill)):
        with subprocess.Popen(
            command, cwd=root, stdout=subprocess.PIPE, text=True, start_new_session=True
        ) as first:
            assert first.stdout is not None
            while step not in first.stdout.readline():
                assert first.poll() is None
            time.sleep(1.5)
            kill(first.pid, 9)
        assert not (root / ".venv" / "askdocs-setup").exists()

    again = run(*command, cwd=root)

    assert again.returncode == 0, again.stderr
    assert "set up in" in again.stdout
    shown = run(root / ".venv" / "bin" / "askdocs", "--help", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    began = time.monotonic()
    assert run(*command, cwd=root).stdout == ""
    assert time.monotonic() - began < 60
