"""Real virtual environments and real installers, on wheels of a few bytes instead of torch."""

import base64
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from askdocs import environments
from askdocs.environments import Recipe, Route
from core.errors import AskdocsError

HERE = (sys.version_info[0], sys.version_info[1])
GONE = Route("nowhere", ("--no-deps", "tinytorch==9.9"))
LOCAL = Route("the disk", ("--no-deps", "tinytorch==1.0+cpu"))
VLLM = ("vllm", "vLLM", "--engine vllm", ", or use --engine llama.cpp")
UV = Path(sys.executable).with_name("uv")


def wheel(folder: Path, name: str, version: str) -> str:
    """Writes a wheel with one module; returns its SHA-256."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"version = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        record += f"{path},sha256={digest.decode()},{len(text)}\n"
    target = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(target, "w") as archive:
        for member, text in {**files, f"{info}/RECORD": record + f"{info}/RECORD,,\n"}.items():
            archive.writestr(member, text)
    return hashlib.sha256(target.read_bytes()).hexdigest()


@pytest.fixture
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of lock files, and installers that know nothing but the wheels beside them."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    wheel(folder, "tinytorch", "1.0+cpu")
    digest = wheel(folder, "tinypin", "1.0")
    locks = tmp_path / "locks"
    locks.mkdir()
    (locks / "tiny.lock").write_text(f"tinypin==1.0 --hash=sha256:{digest}\n")
    for tool in ("PIP", "UV"):
        monkeypatch.setenv(f"{tool}_NO_INDEX", "1")
        monkeypatch.setenv(f"{tool}_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    return locks


def recipe(
    *routes: Route, check: str = "import tinytorch, tinypin", need_gib: float = 0.1
) -> Recipe:
    return Recipe(*VLLM, "cpu", "tiny.lock", check, (HERE,), need_gib, routes)


@pytest.mark.slow
def test_torch_comes_by_the_first_route_that_works_and_a_second_call_does_nothing(
    locks: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    left_over = tmp_path / "home" / "environments" / "vllm" / "lib" / "half-a-torch"
    left_over.parent.mkdir(parents=True)
    left_over.touch()

    python = environments.ensure(recipe(GONE, LOCAL), tmp_path / "home", said.append, locks)

    shown = subprocess.check_output([python, "-c", "import tinytorch; print(tinytorch.version)"])
    assert shown == b"1.0+cpu\n"
    assert said.index("nowhere: not there") < said.index("the disk")
    assert not left_over.exists()
    said.clear()
    assert environments.ensure(recipe(GONE, LOCAL), tmp_path / "home", said.append, locks) == python
    assert said == []


@pytest.mark.slow
def test_a_set_up_that_was_killed_goes_on_and_repairs_what_was_half_written(
    locks: Path, tmp_path: Path
) -> None:
    home, waits, checks = tmp_path / "home", tmp_path / "waits", tmp_path / "checks"
    waits.touch()
    check = f"import os, time; open({str(checks)!r}, 'w').close()"
    check += f"\nwhile os.path.exists({str(waits)!r}): time.sleep(0.05)"
    check += "\nimport tinytorch, tinypin"
    code = f"""
from pathlib import Path
from askdocs.environments import Recipe, Route, ensure
recipe = Recipe(*{VLLM!r}, "cpu", "tiny.lock", {check!r}, ({HERE},), 0.1, ({LOCAL!r},))
ensure(recipe, Path({str(home)!r}), print, Path({str(locks)!r}))
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
    place = home / "environments" / "vllm"
    deadline = time.monotonic() + 60
    while not checks.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    child.kill()
    child.wait()
    # What it had started is still at work, and holds the lock until it ends.
    with (place.with_name("vllm.lock")).open("w") as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    waits.unlink()
    (module,) = place.glob("lib/*/site-packages/tinypin.py")
    module.unlink()

    said: list[str] = []
    python = environments.ensure(recipe(LOCAL, check=check), home, said.append, locks)

    assert subprocess.run([python, "-c", "import tinytorch, tinypin"]).returncode == 0
    assert "the disk" not in said  # torch was complete and stays


@pytest.mark.slow
def test_pip_installs_the_lock_where_uv_cannot(
    locks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UV_FIND_LINKS")  # as with a mirror that only pip knows
    said: list[str] = []
    environments.ensure(recipe(LOCAL), tmp_path / "home", said.append, locks)
    assert "vLLM (cpu build), 1 packages, by pip" in said or not UV.is_file()


@pytest.mark.slow
def test_an_install_that_fails_names_the_reason_the_log_and_the_fix(
    locks: Path, tmp_path: Path
) -> None:
    with pytest.raises(AskdocsError) as caught:
        environments.ensure(recipe(GONE), tmp_path / "home", lambda line: None, locks)
    message = str(caught.value)
    assert "No matching distribution found for tinytorch==9.9" in message
    assert str(tmp_path / "home" / "environments" / "vllm.log") in message
    assert "run again" in message
    assert "\n" not in message


@pytest.mark.slow
def test_an_interrupted_step_ends_the_set_up_instead_of_trying_the_next_way(
    locks: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    # Whoever starts the tests in the background may have SIGINT ignored, and children inherit it.
    check = (
        "import os, signal; signal.signal(signal.SIGINT, signal.SIG_DFL);"
        " os.kill(os.getpid(), signal.SIGINT); signal.pause()"
    )
    with pytest.raises(AskdocsError, match="interrupted; run it again"):
        environments.ensure(recipe(check=check), tmp_path / "home", said.append, locks)


@pytest.mark.slow
def test_a_listener_that_raises_stops_the_installer(locks: Path, tmp_path: Path) -> None:
    def say(line: str) -> None:
        if line.startswith("does vLLM load?:"):
            raise KeyboardInterrupt

    home, pid = tmp_path / "home", tmp_path / "pid"
    check = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    with pytest.raises(KeyboardInterrupt):
        environments.ensure(recipe(check=check), home, say, locks)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_a_full_disk_is_noticed_before_anything_is_made(locks: Path, tmp_path: Path) -> None:
    with pytest.raises(AskdocsError, match=r"GiB free, vLLM needs 1000000 GiB.*ASKDOCS_HOME"):
        environments.ensure(
            recipe(LOCAL, need_gib=1e6), tmp_path / "home", lambda line: None, locks
        )
    assert not (tmp_path / "home" / "environments" / "vllm").exists()


def test_a_python_that_the_locks_are_not_for_is_refused(locks: Path, tmp_path: Path) -> None:
    old = Recipe(*VLLM, "cpu", "tiny.lock", "", ((3, 9),), 0.1, (LOCAL,))
    with pytest.raises(AskdocsError, match=r"needs Python 3\.9, .* use --engine llama\.cpp"):
        environments.ensure(old, tmp_path / "home", lambda line: None, locks)


def test_a_changed_lock_makes_the_environment_again(locks: Path) -> None:
    before = environments._digest(recipe(LOCAL), locks)
    with (locks / "tiny.lock").open("a") as file:
        file.write("# changed\n")
    assert environments._digest(recipe(LOCAL), locks) != before


def test_what_people_are_reported_does_not_make_an_environment_again(locks: Path) -> None:
    told = replace(recipe(LOCAL), title="another name", instead="")
    assert environments._digest(told, locks) == environments._digest(recipe(LOCAL), locks)


def test_every_lock_of_the_real_recipes_is_there_and_hashed() -> None:
    folder = environments.requirements()
    for real in (
        environments.VLLM_CPU,
        environments.VLLM_GPU,
        environments.TRAIN_CPU,
        environments.TRAIN_GPU,
        environments.DATASET,
        environments.EVAL,
    ):
        for name in [real.lock, *(route.lock for route in real.torch_routes if route.lock)]:
            text = (folder / name).read_text()
            assert "--hash=sha256:" in text
            assert "://" not in text  # a mirror serves the same hashes


@pytest.mark.skipif(Path("/proc/driver/nvidia/gpus").exists(), reason="this machine has a driver")
def test_a_gpu_is_one_that_nvidia_smi_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not environments.has_gpu()
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!{shutil.which('sh', path=os.defpath)}\necho 'GPU 0: NVIDIA A10G'\n")
    tool.chmod(0o755)
    assert environments.has_gpu()
    tool.write_text(f"#!{shutil.which('sh', path=os.defpath)}\necho 'no devices'; exit 9\n")
    assert not environments.has_gpu()
