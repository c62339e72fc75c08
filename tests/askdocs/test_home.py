import json
import os
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from askdocs.state import home as homes
from askdocs.state.home import Home
from core.errors import AskdocsError
from tests.askdocs.conftest import ROOT


def python(code: str) -> subprocess.Popen[str]:
    """A process of this project, from whose output the test reads."""
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
    )


HOLDER = """
import time
from pathlib import Path
from askdocs.state.home import Home
with Home(Path({root!r})).lock():
    print("held")
    time.sleep(60)
"""


def holder(home: Home) -> subprocess.Popen[str]:
    process = python(HOLDER.format(root=str(home.root)))
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    if process.stdout:
        process.stdout.close()


def test_the_key_is_made_once_and_kept(home: Home) -> None:
    assert home.existing_key() is None
    key = home.key()
    assert key.startswith("ask-")
    assert len(key) > 40
    assert home.key() == Home(home.root).key() == home.existing_key() == key


def test_two_homes_have_two_keys(home: Home, tmp_path: Path) -> None:
    other = Home(tmp_path / "other")
    other.make()
    assert other.key() != home.key()


def test_only_its_owner_can_read_the_key_whatever_the_umask(home: Home) -> None:
    before = os.umask(0)
    try:
        home.key()
    finally:
        os.umask(before)
    assert stat.S_IMODE((home.root / "key").stat().st_mode) == 0o600


def test_a_second_holder_of_the_lock_gets_one_line_with_the_process_and_the_fix(
    home: Home,
) -> None:
    process = holder(home)
    try:
        assert home.is_locked()
        with pytest.raises(AskdocsError) as caught, home.lock():
            pass
        message = str(caught.value)
        assert str(home.root) in message
        assert f"process {process.pid}" in message
        assert "--home DIR" in message
        assert "\n" not in message
    finally:
        end(process)


def test_the_lock_of_a_killed_process_is_free(home: Home) -> None:
    process = holder(home)
    end(process)
    assert process.returncode == -9
    assert not home.is_locked()
    with home.lock():
        assert home.is_locked()
    assert not home.is_locked()


def test_what_a_killed_up_said_of_itself_is_gone_when_the_next_one_has_the_lock(
    home: Home,
) -> None:
    homes.write_json(home.running, {"pid": 1})
    with home.lock():
        assert not home.running.exists()


def test_a_home_that_was_never_made_is_not_locked(tmp_path: Path) -> None:
    assert not Home(tmp_path / "never").is_locked()


def test_a_kill_in_the_middle_of_writing_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    code = f"""
from pathlib import Path
from askdocs.state.home import write_json
for number in range(10**9):
    write_json(Path({str(path)!r}), {{"number": number, "long": "x" * 300_000}})
    if number == 0:
        print("begun")
"""
    last = -1
    for pause in (0.0, 0.003, 0.01, 0.017, 0.03):
        process = python(code)
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(pause)
        end(process)
        stored = json.loads(path.read_text())
        assert len(stored["long"]) == 300_000
        assert stored["number"] >= 0
        last = max(last, stored["number"])
    assert last > 0


@pytest.mark.parametrize("text", ["", "{", "\x00", '{"a": 1'])
def test_a_file_that_is_not_json_reads_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    assert homes.read_json(tmp_path / "x.json") is None


def test_a_file_that_is_not_there_reads_as_none(tmp_path: Path) -> None:
    assert homes.read_json(tmp_path / "x.json") is None


def test_a_home_below_a_file_is_an_error_with_the_fix(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for root in (tmp_path / "file", tmp_path / "file" / "home"):
        with pytest.raises(AskdocsError, match=r"cannot be written .*choose another --home DIR"):
            Home(root).make()


def test_a_home_that_cannot_be_written_is_an_error_with_the_fix() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        home.make()
        (home.root / "up.lock").unlink()
        home.root.chmod(0o555)
        said = made_by_somebody_else(home)
        home.root.chmod(0o755)
    assert "cannot be written (Permission denied): choose another --home DIR" in said


def made_by_somebody_else(home: Home) -> str:
    """What is said. Root may write everywhere: where root tests, another user asks."""
    code = f"""
import os
from pathlib import Path
from askdocs.state.home import Home
from core.errors import AskdocsError
if os.getuid() == 0:
    os.setuid(65534)
try:
    Home(Path({str(home.root)!r})).make()
except AskdocsError as error:
    print(error)
"""
    said, _ = python(code).communicate(timeout=30)
    return said


def test_the_option_wins_over_the_variable_and_that_over_the_default(tmp_path: Path) -> None:
    env = {"ASKDOCS_HOME": "/var/lib/askdocs"}
    assert homes.find(Path("/srv/a"), env).root == Path("/srv/a")
    assert homes.find(None, env).root == Path("/var/lib/askdocs")
    assert homes.find(None, {"ASKDOCS_HOME": ""}).root == tmp_path / ".askdocs"
    assert homes.find(None, {}).root == tmp_path / ".askdocs"
    assert homes.find(Path("near"), {}).root == tmp_path / "near"
