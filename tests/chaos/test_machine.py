"""The machine itself: a disk that is full, a clock that jumps."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import starting
from tests.chaos.conftest import Upstream, bad_day, failures, new_key, serving_widget
from tests.chaos.load import Target
from tests.chaos.report import Report, rounds

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(900)]

each_round = pytest.mark.parametrize("number", range(rounds()))
FAKETIME = [str(path) for path in Path("/usr/lib").glob("**/faketime/libfaketime.so.1")]


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A disk of its own, in memory."""
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("run it as root: it mounts a small disk")
    size = f"size={megabytes}m"
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder])
    if done.returncode:
        pytest.skip("run it where root may mount: it needs a small disk of its own")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path) -> Path:
    """Take every byte that is left."""
    file = disk / "full"
    with file.open("wb", buffering=0) as out:
        for size in (2**20, 2**12, 1):
            try:
                while True:
                    out.write(b"x" * size)
            except OSError:
                continue
    assert shutil.disk_usage(disk).free == 0
    return file


@contextmanager
def team_of_two(folder: Path, upstream: Upstream, wiki: Path) -> Iterator[Target]:
    """Two workers and the box on a SQLite file."""
    with (
        starting.gateway(
            folder,
            gateway_engine_url=f"http://127.0.0.1:{upstream.port}/v1",
            gateway_docs=str(wiki),
            gateway_workers="2",
        ) as gateway,
        serving_widget(folder, gateway) as widget,
    ):
        key, key_id = new_key(gateway.database)
        yield Target(gateway.url, widget, key, key_id, gateway.database)


@each_round
async def test_a_full_disk_loses_nothing_that_was_acknowledged(
    upstream: Upstream, wiki: Path, days: Report, tmp_path: Path, number: int
) -> None:
    with (
        small_disk(tmp_path / "disk", 64) as disk,
        team_of_two(disk, upstream, wiki) as target,
    ):
        async with bad_day(days, "disk full for 10 s (SQLite)", target) as day:
            day.begins()
            file = await asyncio.to_thread(fill, disk)
            await asyncio.sleep(10)
            file.unlink()


@each_round
@pytest.mark.parametrize("jump", ["+2d", "-2d"])
async def test_a_clock_that_jumps_breaks_nothing(
    upstream: Upstream,
    wiki: Path,
    days: Report,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    jump: str,
) -> None:
    if not FAKETIME:
        pytest.skip("apt-get install faketime")
    clock = tmp_path / "clock"
    clock.write_text("+0")
    monkeypatch.setenv("LD_PRELOAD", FAKETIME[0])
    monkeypatch.setenv("FAKETIME_TIMESTAMP_FILE", str(clock))
    monkeypatch.setenv("FAKETIME_CACHE_DURATION", "1")
    monkeypatch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    with team_of_two(tmp_path, upstream, wiki) as target:
        monkeypatch.delenv("LD_PRELOAD")
        name = f"clock jumps by {jump.replace('d', ' days')}"
        async with bad_day(days, name, target) as day:
            day.begins()
            clock.write_text(jump)
            await asyncio.sleep(5)
    # A widget with a token of that age must send the question again; everything else goes on.
    assert set(failures(days, name)) <= {"box: ask 403"}
