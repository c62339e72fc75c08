"""`askdocs backup` and `restore`: real databases, indexes and versions; real damage and kills."""

import gzip
import io
import json
import os
import random
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from askdocs.cli import app
from askdocs.state.backups import archive, making, moves, restoring
from askdocs.state.backups.making import InstallationPaths
from askdocs.state.backups.manifest import DATABASE, INDEX, RESTORED, Part, encode
from askdocs.state.home import Home
from askdocs.supervision.settings import UpSettings
from askdocs.supervision.up import Up
from askdocs.terminal import stopping
from gateway.access import keys, revocations
from gateway.access.keys import Keys
from gateway.core.errors import AskdocsError
from gateway.core.gateway_settings import Alias, GatewaySettings
from gateway.core.settings import load
from gateway.knowledge.search import index
from gateway.knowledge.search.store import NoIndex
from gateway.knowledge.sources.markdown import parse
from gateway.routing import aliases
from gateway.storage import database
from gateway.telemetry import audit
from tests.askdocs.conftest import COMMAND
from tests.askdocs.kill_restore import places as places_in
from tests.askdocs.kill_restore import quiet
from tests.gateway.postgres import Postgres
from tests.parts import require
from training.versions.manifest import Dataset, Facts
from widget.service.store import Answered, NewQuestion, Store

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = bytes(range(256)) * 64


def facts() -> Facts:
    return Facts(
        base_model="SmolLM2-135M-Instruct",
        dataset=Dataset(file="qa.jsonl", examples={"train": 3}, sha256="0" * 64),
        recipe={},
        prompt_fingerprint="p",
        commit="",
        metrics={},
        checks={},
    )


@pytest.fixture
def engine(home: Home) -> Iterator[sa.Engine]:
    """The database of the home."""
    engine = database.open(f"sqlite:///{home.database}")
    database.migrate(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def places(home: Home, engine: sa.Engine, tmp_path: Path) -> InstallationPaths:
    """A home with a key, an alias, a question, an index of a page, settings and a version."""
    Keys(engine).create("ci")
    aliases.save(engine, "hr", Alias(targets={"docs@v1": 90, "base": 10}), "ann")
    Store(engine).asked(NewQuestion("q1", "How do I get a token?", "c1"))
    Store(engine).answered("q1", Answered("answered", "At the desk."))
    put(home.index, "vpn.md")
    run = tmp_path / "run"
    (run / "adapter").mkdir(parents=True)
    (run / "adapter" / "adapter_model.safetensors").write_bytes(WEIGHTS)
    found = places_in(home)
    found.settings.write_text("[gateway]\nport = 4001\n")
    found.store.add("docs", run, facts())
    return found


def put(file: Path, *paths: str) -> None:
    """An index of these pages."""
    index.build(
        file, [parse(path, f"# {path}\n\nText.", "https://w.example.com/") for path in paths]
    )


def backed_up(places: InstallationPaths, out: Path, weights: bool = False) -> Path:
    making.make(places, out, weights, quiet)
    return out


def restored(
    home: Home, places: InstallationPaths, file: Path, *parts: Part
) -> tuple[Path | None, restoring.RestorePlan]:
    found = restoring.plan(places, archive.opened(file), parts or RESTORED, quiet)
    return restoring.restore(home, places, found, quiet), found


def names(home: Home) -> list[str]:
    with closing(sqlite3.connect(f"file:{home.database}?mode=ro", uri=True)) as db:
        return [name for (name,) in db.execute("SELECT name FROM keys ORDER BY name")]


def pages(home: Home) -> list[str]:
    with closing(index.Index(home.index)) as opened:
        return sorted(page.path for page in opened.pages())


def test_a_backup_has_each_part_and_no_secret_and_is_its_owners_alone(
    home: Home, places: InstallationPaths, engine: sa.Engine, tmp_path: Path
) -> None:
    _, text = Keys(engine).create("secret")
    part = keys.parse(text)
    assert part is not None
    installation = home.key()
    before = os.umask(0)
    try:
        file = backed_up(places, tmp_path / "b.tar.gz")
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with tarfile.open(file) as tar:
        members = {one.name: one for one in tar}
        whole = b"".join(tar.extractfile(one).read() for one in members.values())  # type: ignore[union-attr]
    assert list(members) == [
        "manifest.json",
        DATABASE,
        INDEX,
        "settings/askdocs.toml",
        "versions/docs@v1/manifest.json",
    ]
    assert {(one.mode, one.uid, one.uname) for one in members.values()} == {(0o600, 0, "")}
    assert part.secret.encode() not in whole
    assert installation.encode() not in whole
    manifest = archive.opened(file).manifest
    assert manifest.revision == database.HEAD
    assert manifest.live == {"docs": {"base": 1}, "hr": {"docs@v1": 90, "base": 10}}
    assert list(manifest.versions) == ["docs@v1"]
    # Nothing is left of the copies, and a second one of the name is refused.
    assert [path.name for path in tmp_path.glob(".*")] == []
    with pytest.raises(AskdocsError, match="already exists"):
        backed_up(places, file)


def test_a_place_where_no_backup_can_be_written_is_reported_with_the_reason(
    places: InstallationPaths, tmp_path: Path
) -> None:
    (file := tmp_path / "file").touch()
    for out, why in (
        (
            Path("/proc/b.tar.gz"),
            r"^/proc/b\.tar\.gz: cannot be written \(No such file .*: check",
        ),
        (tmp_path / ("b" * 300), r"/bbb.*: cannot be written \(File name too long\): check"),
        (file / "b.tar.gz", rf"^{file}/b\.tar\.gz: {file} is no folder: name one$"),
        (tmp_path / "none" / "b", r"none/b: .*/none does not exist: create it first$"),
    ):
        with pytest.raises(AskdocsError, match=why):
            backed_up(places, out)
    with pytest.raises(AskdocsError, match=r"file/b: cannot be read \(Not a directory\): name a"):
        archive.opened(file / "b")


def on_a_disk(tmp_path: Path, options: str, *words: str, **env: str) -> list[str]:
    """What `askdocs backup` says where it is to be written to a disk with these options."""
    (disk := tmp_path / "disk").mkdir(exist_ok=True)
    alone = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-ec")
    mount = f"mount -t tmpfs -o {options} tmpfs {disk}"
    tried = subprocess.run([*alone, mount], capture_output=True, check=False)
    require(tried.returncode == 0, "allow user namespaces: sysctl user.max_user_namespaces=10000")
    script = f'{mount}; "$@" --out {disk}/b.tar.gz || ls -A {disk}'
    command = [*alone, script, "sh", str(COMMAND), "backup", *words]
    done = subprocess.run(
        command, env=os.environ | env, capture_output=True, text=True, check=True, timeout=60
    )
    return (done.stderr + done.stdout).splitlines()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "why"), [("ro", "Read-only file system"), ("size=128k", "No space left on device")]
)
def test_a_disk_that_cannot_take_a_backup_is_reported_in_a_line(
    home: Home, places: InstallationPaths, engine: sa.Engine, tmp_path: Path, options: str, why: str
) -> None:
    engine.dispose()
    said = on_a_disk(tmp_path, options, "--home", str(home.root))
    assert said == [
        f"askdocs: {tmp_path}/disk/b.tar.gz: cannot be written ({why}): check free space and "
        "write permission"
    ]


@pytest.mark.slow
def test_a_backup_is_the_state_of_one_moment_while_others_write(
    home: Home, places: InstallationPaths, engine: sa.Engine, tmp_path: Path
) -> None:
    """A writer adds rows to two tables in one transaction: the copy has both or none."""
    with database.writing(engine) as connection:
        connection.execute(sa.text("CREATE TABLE a (n INTEGER)"))
        connection.execute(sa.text("CREATE TABLE b (n INTEGER, filler TEXT)"))
    stop = threading.Event()
    written = 0

    def write() -> None:
        nonlocal written
        while not stop.is_set():
            with database.writing(engine) as connection:
                row = {"n": written, "filler": "x" * 20_000}
                connection.execute(sa.text("INSERT INTO a VALUES (:n)"), row)
                connection.execute(sa.text("INSERT INTO b VALUES (:n, :filler)"), row)
            written += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        while written < 200:
            assert thread.is_alive()
        begun = written
        file = backed_up(places, tmp_path / "b.tar.gz")
    finally:
        stop.set()
        thread.join()
    out = tmp_path / "copy.db"
    archive.extract(archive.opened(file), {DATABASE: out}, quiet)
    with closing(sqlite3.connect(out)) as db:
        (a,) = db.execute("SELECT count(*) FROM a").fetchone()
        (b,) = db.execute("SELECT count(*) FROM b").fetchone()
    assert begun <= a == b <= written


def test_a_restore_brings_back_what_was_and_can_be_undone(
    home: Home, places: InstallationPaths, engine: sa.Engine, tmp_path: Path
) -> None:
    file = backed_up(places, tmp_path / "b.tar.gz")
    Keys(engine).create("later")
    put(home.index, "vpn.md", "later.md")
    engine.dispose()
    kept, found = restored(home, places, file)
    assert kept is not None
    assert (names(home), pages(home)) == (["ci"], ["vpn.md"])
    assert found.versions == {"docs@v1": restoring.STAYS}
    database.migrate(engine)
    lines = audit.lines(engine)
    # What was done since stays in the log, and so does the restore.
    assert [(one.action, one.target) for one in lines][-2:] == [
        ("key.create", "later"),
        ("backup.restore", "b.tar.gz"),
    ]
    engine.dispose()
    restored(home, places, kept)
    assert (names(home), pages(home)) == (["ci", "later"], ["later.md", "vpn.md"])
    assert stat.S_IMODE(home.database.stat().st_mode) == 0o600


def test_a_restore_opens_no_key_that_was_closed_since(
    home: Home, places: InstallationPaths, engine: sa.Engine, tmp_path: Path
) -> None:
    store = Keys(engine)
    leaked, _ = store.create("leaked")
    turned, old_text = store.create("turned")
    file = backed_up(places, tmp_path / "b.tar.gz")
    store.revoke("leaked")
    _, new_text = store.rotate("turned", timedelta(0))
    Store(engine).forget(visitor="", action="questions.forget")
    engine.dispose()
    _, found = restored(home, places, file)
    assert store.get(leaked.id).revoked is not None
    opens = {secret.digest: secret.valid_until for secret in store.find(turned.id).secrets}  # type: ignore[union-attr]
    old, new = (keys.parse(text) for text in (old_text, new_text))
    assert old is not None
    assert new is not None
    assert opens[keys.digest(new.secret)] is None
    assert opens[keys.digest(old.secret)] is not None
    assert found.comes_back == 1


def test_a_restore_of_one_part_leaves_the_others(
    home: Home, places: InstallationPaths, engine: sa.Engine, tmp_path: Path
) -> None:
    file = backed_up(places, tmp_path / "b.tar.gz")
    Keys(engine).create("later")
    put(home.index, "later.md")
    engine.dispose()
    restored(home, places, file, "index")
    assert (names(home), pages(home)) == (["ci", "later"], ["vpn.md"])
    last = audit.lines(engine)[-1]
    assert (last.action, last.details["parts"]) == ("backup.restore", ["index"])
    engine.dispose()
    lose_the_end(home.database)
    put(home.index, "later.md")
    # What cannot be written down is not done.
    with pytest.raises(database.Damaged, match="--only database"):
        restored(home, places, file, "index")
    assert pages(home) == ["later.md"]
    assert not list(home.root.glob("*.restored"))


def test_every_byte_of_a_backup_counts(places: InstallationPaths, tmp_path: Path) -> None:
    """Truncated anywhere, or changed at any of many places: refused, and named."""
    file = backed_up(places, tmp_path / "b.tar.gz", weights=True)
    whole = file.read_bytes()
    plain = gzip.decompress(whole)
    bad = tmp_path / "bad.tar.gz"
    chosen = random.Random(1)
    refused = 0
    # Before the tenth byte stand the time and the system, which nobody reads.
    for at in [
        10,
        11,
        40,
        len(whole) - 9,
        len(whole) - 1,
        *chosen.sample(range(10, len(whole)), 60),
    ]:
        changed = bytearray(whole)
        changed[at] ^= 1 << chosen.randrange(8)
        for content in (bytes(changed), whole[:at]):
            # Some bits may be either: of the same zeros, one is copied as well as another.
            with suppress(Exception):
                if gzip.decompress(content) == plain:
                    continue
            bad.write_bytes(content)
            with pytest.raises(AskdocsError, match=r"bad\.tar\.gz.*use another backup"):
                archive.verify(archive.opened(bad), quiet)
            refused += 1
    assert refused > 100
    bad.write_bytes(whole)
    archive.verify(archive.opened(bad), quiet)


def packed(file: Path, files: dict[str, bytes]) -> Path:
    with gzip.open(file, "wb") as out, tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file


def test_what_is_no_backup_or_of_a_newer_askdocs_is_refused(
    home: Home, places: InstallationPaths, tmp_path: Path
) -> None:
    file = backed_up(places, tmp_path / "b.tar.gz")
    manifest = archive.opened(file).manifest
    bad = tmp_path / "bad.tar.gz"

    def refused(content: dict[str, bytes], why: str) -> None:
        with pytest.raises(AskdocsError, match=why):
            restoring.plan(places, archive.opened(packed(bad, content)), RESTORED, quiet)

    bad.write_text("dear diary")
    with pytest.raises(AskdocsError, match="or not a backup of askdocs"):
        archive.opened(bad)
    refused({"diary.txt": b"x"}, "it has no manifest.json")
    refused({"manifest.json": b"[1]"}, "cannot be read")
    newer = manifest.model_copy(update={"revision": "9998", "askdocs": "7.0"})
    refused(
        {"manifest.json": encode(newer)}, r"was made by a newer askdocs \(7.0, schema 9998; this is"
    )
    future = json.dumps({"format": 2, "unheard": "of"}).encode()
    refused({"manifest.json": future}, "was made by a newer askdocs.*upgrade askdocs first")
    outside = encode(manifest).replace(b'"index/index.db"', b'"index/../../evil"')
    refused({"manifest.json": outside}, "is not a path of a backup")
    refused({"manifest.json": encode(manifest)}, f"{DATABASE} is missing")
    more = {"manifest.json": encode(manifest), "index/other": b""}
    refused(more, "index/other is in it twice, or not in the manifest")
    assert names(home) == ["ci"]


def test_a_restore_is_refused_while_somebody_uses_the_files(
    home: Home, places: InstallationPaths, engine: sa.Engine, tmp_path: Path
) -> None:
    file = backed_up(places, tmp_path / "b.tar.gz")
    engine.dispose()
    hold = (
        "import fcntl, sqlite3, sys\n"
        "kind, path = sys.argv[1:]\n"
        "if kind == 'lock':\n    held = open(path); fcntl.flock(held, fcntl.LOCK_EX)\n"
        "else:\n    held = sqlite3.connect(path); held.execute('SELECT 1 FROM sqlite_master')\n"
        "print('ready', flush=True); sys.stdin.read()\n"
    )
    for kind, path, why in (
        ("lock", home.root / "up.lock", "askdocs is running in .*: stop it"),
        ("open", home.database, r"askdocs\.db: is in use by process {pid} \("),
        ("open", home.index, r"index\.db: is in use by process {pid} \("),
    ):
        with subprocess.Popen(
            [sys.executable, "-c", hold, kind, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "ready\n"
            with pytest.raises(AskdocsError, match=why.format(pid=other.pid)):
                restored(home, places, file)
            other.communicate("")
    assert sorted(path.name for path in home.root.glob("*restor*")) == []
    restored(home, places, file)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stop_at_any_point_of_a_backup_leaves_no_copy_of_the_database(
    number: signal.Signals, home: Home, places: InstallationPaths, tmp_path: Path
) -> None:
    """After SIGKILL, for longer than until the next backup."""
    script = Path(__file__).with_name("stop_backup.py")
    (folder := tmp_path / "backups").mkdir()
    done = subprocess.run(
        [sys.executable, str(script), str(home.root), str(folder), str(int(number))],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"stopped')]
    stops = lines[:-1]
    assert sum(not line["whole"] for line in stops) > 5
    assert lines[-1] == {"stopped": False, "whole": 1, "left": []}
    if number == signal.SIGKILL:
        assert sum("askdocs.db" in line["left"] for line in stops) > 5
    else:
        assert [line for line in stops if line["left"]] == []


def test_a_stop_while_a_database_is_read_is_not_taken_for_damage(
    home: Home, places: InstallationPaths, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(home.database)) as db:  # reading it takes a while
        db.execute(
            "CREATE TABLE more AS WITH RECURSIVE n(i) AS"
            " (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 500000) SELECT i FROM n"
        )
        db.commit()

    def stop(step: str, done: int, total: int | None) -> None:
        if step == "reading askdocs.db":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        making.make(places, tmp_path / "b.tar.gz", False, stop)


def test_a_restore_that_is_stopped_leaves_nothing_behind_or_is_done(
    home: Home,
    places: InstallationPaths,
    engine: sa.Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = backed_up(places, tmp_path / "b.tar.gz")
    Keys(engine).create("later")
    engine.dispose()
    found = restoring.plan(places, archive.opened(file), RESTORED, quiet)

    unpacked: list[str] = []

    def stop(step: str, done: int, total: int | None) -> None:
        unpacked.append(step)
        if unpacked.count("unpacking (MB)") == 2:  # the database lies ready
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt), stopping.stoppable():
        restoring.restore(home, places, found, stop)
    assert not list(home.root.glob("*.restored*"))
    assert names(home) == ["ci", "later"]

    def finish(journal: Path) -> None:
        if journal.exists():  # from now on it counts
            signal.raise_signal(signal.SIGTERM)
        real(journal)

    real = moves.finish
    monkeypatch.setattr(moves, "finish", finish)
    with stopping.stoppable():
        assert restoring.restore(home, places, found, quiet)
    assert names(home) == ["ci"]


@pytest.mark.slow
def test_a_kill_at_any_point_of_a_restore_leaves_the_old_state_or_one_that_becomes_the_new(
    home: Home, places: InstallationPaths, engine: sa.Engine, tmp_path: Path
) -> None:
    file = backed_up(places, tmp_path / "b.tar.gz", weights=True)
    Keys(engine).create("later")
    put(home.index, "later.md")
    engine.dispose()
    (home.root / "versions/docs@v1/adapter/adapter_model.safetensors").write_bytes(b"no")
    script = Path(__file__).with_name("kill_restore.py")
    (tmp_path / "work").mkdir()
    done = subprocess.run(
        [sys.executable, str(script), str(home.root), str(file), str(tmp_path / "work")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    old = {"keys": ["ci", "later"], "pages": ["later.md"], "version": "damaged"}
    new = {"keys": ["ci"], "pages": ["vpn.md"], "version": "whole"}
    lines: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    for line in lines:
        after, resumed = line["after"], line["resumed"]
        decided = after.pop("decided")
        if decided:  # nobody works with what is half done
            assert "a restore was interrupted" in after["refused"], line
        elif line["killed"] and resumed != new | {"decided": False, "refused": ""}:
            assert after == old | {"refused": ""}, line
            assert resumed == after | {"decided": False}, line
            continue
        assert resumed == new | {"decided": False, "refused": ""}, line
        assert line["left"] == [], line
    kinds = [line["resumed"]["keys"] for line in lines]
    assert kinds.count(old["keys"]) > 5  # killed before it was decided
    assert kinds.count(new["keys"]) > 5  # and after
    assert not lines[-1]["killed"]


def test_askdocs_up_finishes_a_restore_that_was_cut_off(
    home: Home,
    places: InstallationPaths,
    engine: sa.Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = backed_up(places, tmp_path / "b.tar.gz")
    Keys(engine).create("later")
    engine.dispose()
    monkeypatch.setattr(moves, "finish", lambda journal: None)  # as if killed when it is decided
    restored(home, places, file, "database")
    monkeypatch.undo()
    with pytest.raises(AskdocsError, match="a restore was interrupted: finish it with"):
        database.migrate(engine)
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    up = Up(load(UpSettings), home, lambda name, text: said.append(text))
    up._gateway_settings = load(GatewaySettings)
    for _ in range(2):  # the second time there is nothing to be done
        up._finish_restore()
    assert [text[:42] for text in said] == ["finished an interrupted restore; the previ"]
    database.migrate(engine)
    assert names(home) == ["ci"]


@pytest.mark.parametrize("weights", [True, False])
def test_a_damaged_adapter_is_named_with_the_command_that_puts_it_back(
    home: Home, places: InstallationPaths, engine: sa.Engine, tmp_path: Path, weights: bool
) -> None:
    engine.dispose()
    file = backed_up(places, tmp_path / "b.tar.gz", weights)
    store, folder = places.store, home.root / "versions" / "docs@v1"
    (tmp_path / "gguf").mkdir()
    (tmp_path / "gguf" / "m.gguf").write_bytes(b"g")
    store.add_artefact("docs@v1", "gguf", tmp_path / "gguf", {})
    adapter = folder / "adapter" / "adapter_model.safetensors"
    flipped = bytearray(WEIGHTS)
    flipped[77] ^= 1
    adapter.write_bytes(flipped)
    with pytest.raises(AskdocsError, match="askdocs restore FILE --only versions"):
        store.fetch("docs@v1")
    with pytest.raises(AskdocsError, match=r"docs@v1/adapter/adapter_model\.safetensors"):
        backed_up(places, tmp_path / "worse.tar.gz", weights=True)
    _, found = restored(home, places, file, "versions")
    if not weights:
        assert found.versions == {"docs@v1": restoring.STAYS}
        return
    assert found.versions == {"docs@v1": restoring.BACK}
    assert (store.fetch("docs@v1") / "adapter/adapter_model.safetensors").read_bytes() == WEIGHTS
    assert (store.fetch("docs@v1", "gguf") / "m.gguf").read_bytes() == b"g"
    (broken,) = (home.root / "versions" / "replaced").glob("*/docs@v1")
    assert (broken / "adapter/adapter_model.safetensors").read_bytes() == flipped
    assert store.names() == ["docs@v1"]


def test_a_version_that_is_gone_comes_back_or_is_said_to_be_missing(
    home: Home, places: InstallationPaths, engine: sa.Engine, tmp_path: Path
) -> None:
    engine.dispose()
    full = backed_up(places, tmp_path / "full.tar.gz", weights=True)
    light = backed_up(places, tmp_path / "light.tar.gz")
    shutil.rmtree(home.root / "versions" / "docs@v1")
    _, found = restored(home, places, light)
    assert found.versions == {"docs@v1": restoring.ABSENT}
    assert places.store.names() == []
    _, found = restored(home, places, full, "versions")
    assert found.versions == {"docs@v1": restoring.BACK}
    places.store.fetch("docs@v1")
    assert audit.lines(engine)[-1].details["versions"] == ["docs@v1"]


def lose_the_end(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2 // 4096 * 4096)


def lose_the_header(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.write(os.urandom(4096))


def mix_pages_up(file: Path) -> None:
    with file.open("r+b") as opened:
        for page in range(2, file.stat().st_size // 4096, 2):
            opened.seek(page * 4096)
            opened.write(os.urandom(4096))


@pytest.mark.parametrize("harm", [lose_the_end, lose_the_header, mix_pages_up])
def test_a_damaged_database_is_named_refused_and_restored(
    home: Home,
    places: InstallationPaths,
    engine: sa.Engine,
    tmp_path: Path,
    harm: Callable[[Path], None],
) -> None:
    file = backed_up(places, tmp_path / "b.tar.gz")
    with database.reading(engine) as connection:
        connection.connection.driver_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # type: ignore[union-attr]
    engine.dispose()
    harm(home.database)

    def start() -> None:
        database.migrate(engine)
        database.look_for_damage(engine)

    with pytest.raises(database.Damaged, match=r"damaged.*`askdocs restore FILE --only database`"):
        start()
    engine.dispose()
    with pytest.raises(AskdocsError, match=r"askdocs\.db: is damaged .*askdocs restore FILE"):
        backed_up(places, tmp_path / "worse.tar.gz")
    assert not (tmp_path / "worse.tar.gz").exists()
    damaged = home.database.read_bytes()
    kept, _ = restored(home, places, file, "database")
    assert names(home) == ["ci"]
    assert kept is not None
    # For who wants to look into it; in the header, SQLite notes that it has no log any more.
    assert (kept / DATABASE).read_bytes()[100:] == damaged[100:]
    assert not (kept / "manifest.json").exists()


@pytest.mark.parametrize("harm", [lose_the_end, lose_the_header, mix_pages_up])
@pytest.mark.parametrize("listed", [True, False])
def test_a_restore_after_damage_opens_no_key_that_was_closed_since_or_names_it(
    home: Home,
    places: InstallationPaths,
    engine: sa.Engine,
    tmp_path: Path,
    harm: Callable[[Path], None],
    listed: bool,
) -> None:
    store = Keys(engine)
    leaked, _ = store.create("leaked")
    turned, _ = store.create("turned")
    file = backed_up(places, tmp_path / "b.tar.gz")
    store.revoke("leaked")
    store.rotate("turned", timedelta(0))
    with database.reading(engine) as connection:
        connection.connection.driver_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # type: ignore[union-attr]
    engine.dispose()
    harm(home.database)
    beside = revocations.beside(home.database)
    assert beside.stat().st_mode & 0o777 == 0o600
    if not listed:  # as of a release before there was such a list
        beside.unlink()
    _, found = restored(home, places, file, "database")
    if listed:
        assert store.get(leaked.id).revoked is not None
        entry = store.find(turned.id)
        assert entry is not None
        assert all(secret.valid_until is not None for secret in entry.secrets)
    open_again = {key.name for key in store.list() if key.revoked is None}
    assert open_again - {"ci"} <= {"turned", *found.unchecked}
    if harm is lose_the_header:  # nothing can be read of it
        assert set(found.unchecked) == open_again


@pytest.mark.parametrize("harm", [lose_the_end, lose_the_header])
def test_a_damaged_index_is_named_refused_and_restored(
    home: Home,
    places: InstallationPaths,
    engine: sa.Engine,
    tmp_path: Path,
    harm: Callable[[Path], None],
) -> None:
    engine.dispose()
    file = backed_up(places, tmp_path / "b.tar.gz")
    harm(home.index)
    with pytest.raises(NoIndex, match="`askdocs restore FILE --only index`"):
        pages(home)
    with pytest.raises(AskdocsError, match=r"index\.db: is damaged .*--only index"):
        backed_up(places, tmp_path / "worse.tar.gz")
    restored(home, places, file, "index")
    assert pages(home) == ["vpn.md"]


def test_a_log_that_lies_beside_is_not_read_into_a_restored_database(
    home: Home, places: InstallationPaths, engine: sa.Engine, tmp_path: Path
) -> None:
    engine.dispose()
    file = backed_up(places, tmp_path / "b.tar.gz")
    home.database.write_bytes(b"not a database")
    (home.root / "askdocs.db-wal").write_bytes(os.urandom(5000))
    restored(home, places, file)
    assert names(home) == ["ci"]
    database.check(engine)


def test_a_backup_is_restored_on_a_new_machine(
    places: InstallationPaths, engine: sa.Engine, tmp_path: Path
) -> None:
    engine.dispose()
    file = backed_up(places, tmp_path / "b.tar.gz", weights=True)
    there = Home(tmp_path / "new")
    kept, found = restored(there, places_in(there), file)
    assert kept is None
    assert (names(there), pages(there)) == (["ci"], ["vpn.md"])
    assert found.versions == {"docs@v1": restoring.BACK}
    places_in(there).store.fetch("docs@v1")
    assert stat.S_IMODE(there.root.stat().st_mode) == 0o700


def test_there_is_nothing_to_back_up_in_an_empty_home(tmp_path: Path) -> None:
    home = Home(tmp_path / "empty")
    home.make()
    with pytest.raises(AskdocsError, match="nothing to back up"):
        backed_up(places_in(home), tmp_path / "b.tar.gz")
    assert not home.database.exists()


@pytest.mark.slow
def test_postgresql_is_dumped_and_restored_into_an_empty_database_only(
    home: Home, places: InstallationPaths, engine: sa.Engine, postgres: Postgres, tmp_path: Path
) -> None:
    engine.dispose()
    first, second = postgres.database(), postgres.database()
    there = replace(places, url=first)
    source = database.open(first)
    database.migrate(source)
    Keys(source).create("ci")
    source.dispose()
    file = backed_up(there, tmp_path / "b.tar.gz")
    assert [name for name in archive.opened(file).manifest.files if name.startswith("d")] == [
        "database/postgresql.dump"
    ]
    with pytest.raises(AskdocsError, match=r"is not empty, and is not overwritten.*createdb"):
        restored(home, there, file)
    with pytest.raises(AskdocsError, match="holds a database of PostgreSQL, and the one here is"):
        restored(home, places, file)
    words = ["restore", str(file), "--yes", "--home", str(home.root)]
    done = CliRunner().invoke(app, words, env={"ASKDOCS_DATABASE_URL": second})
    assert done.exit_code == 0, done.output
    assert "if one of these keys was revoked or rotated since then" in done.stdout
    target = database.open(second)
    database.check(target)
    assert [key.name for key in Keys(target).list()] == ["ci"]
    assert audit.lines(target)[-1].action == "backup.restore"
    target.dispose()
    third = {"ASKDOCS_DATABASE_URL": postgres.database()}
    done = CliRunner().invoke(app, [*words, "--json"], env=third)
    assert json.loads(done.stdout)["keys_that_may_be_open_again"] == ["ci"]
    missing = second.replace("askdocs_1", "nowhere")
    with pytest.raises(AskdocsError, match="does not exist"):
        backed_up(replace(places, url=missing), tmp_path / "c.tar.gz")


# Runs in a database that a restore comes into; its tables wait for whoever holds the lock.
WAIT = """
CREATE FUNCTION wait() RETURNS event_trigger LANGUAGE plpgsql
AS 'BEGIN PERFORM pg_advisory_xact_lock(1); END';
CREATE EVENT TRIGGER wait ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION wait();
"""
WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
# Does not end when it has done its work.
SLOW = """#!/bin/sh
{} "$@" && touch {} && exec sleep 60
"""


@pytest.mark.slow
def test_a_stopped_restore_of_postgresql_leaves_an_empty_database_or_the_whole_backup(
    home: Home, places: InstallationPaths, engine: sa.Engine, postgres: Postgres, tmp_path: Path
) -> None:
    engine.dispose()
    source = database.open(first := postgres.database())
    database.migrate(source)
    Keys(source).create("ci")
    source.dispose()
    file = backed_up(replace(places, url=first), tmp_path / "b.tar.gz", weights=True)
    full = on_a_disk(tmp_path, "size=16k", "--home", str(home.root), ASKDOCS_DATABASE_URL=first)
    assert "b.tar.gz: cannot be written (No space left on device)" in full[0]
    assert len(full) == 1
    shutil.rmtree(home.root / "versions")
    target = database.open(second := postgres.database())
    words = [str(COMMAND), "restore", str(file), "--yes", "--home", str(home.root)]

    def begun(path: str = "") -> "subprocess.Popen[str]":
        (temporary := tmp_path / "tmp").mkdir(exist_ok=True)
        return subprocess.Popen(
            words,
            env=os.environ
            | {"ASKDOCS_DATABASE_URL": second, "TMPDIR": str(temporary)}
            | {"PATH": f"{path}{os.environ['PATH']}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def left() -> list[str]:
        with database.reading(target) as connection:
            tables = sa.inspect(connection).get_table_names()
        files = [path for path in tmp_path.rglob("*") if path.name == "postgresql.dump"]
        return [*tables, *map(str, files), *places.store.names()]

    with psycopg.connect(second, autocommit=True) as admin:
        admin.execute(WAIT)
        admin.execute("SELECT pg_advisory_lock(1)")
        for stop in (os.kill, os.killpg):  # as systemd does it, and Ctrl-C
            with begun() as restore:
                while admin.execute(WAITING).fetchone() != (1,):
                    assert restore.poll() is None
                    time.sleep(0.05)
                stop(restore.pid, signal.SIGTERM if stop is os.kill else signal.SIGINT)
                _, said = restore.communicate(timeout=60)
            assert restore.returncode > 0
            assert said.startswith("askdocs: stopped: nothing was changed\n")
            assert admin.execute(WAITING).fetchone() == (0,)
            assert left() == []
        admin.execute("SELECT pg_advisory_unlock(1)")
    assert left() == []

    (slow := tmp_path / "slow").mkdir()
    real, done = shutil.which("pg_restore"), tmp_path / "done"
    (slow / "pg_restore").write_text(SLOW.format(real, done))
    (slow / "pg_restore").chmod(0o700)
    with begun(f"{slow}:") as restore:
        while not done.exists():
            assert restore.poll() is None
            time.sleep(0.05)
        restore.terminate()
        told, said = restore.communicate(timeout=60)
    assert (restore.returncode, said) == (0, "")
    assert "restored\n" in told
    database.check(target)
    assert [key.name for key in Keys(target).list()] == ["ci"]
    assert audit.lines(target)[-1].action == "backup.restore"
    assert left()[-1] == "docs@v1"
    target.dispose()


def test_the_commands_tell_people_and_scripts_and_ask_before_they_act(tmp_path: Path) -> None:
    def run(*words: str, typed: str = "") -> Result:
        return CliRunner().invoke(app, words, input=typed)

    def said(*words: str) -> Any:
        done = run(*words, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    said("keys", "create", "ci")
    made = said("backup", "--out", "b.tar.gz")
    assert (made["file"], made["schema"]) == ("b.tar.gz", database.HEAD)
    assert said("backup", "--verify", "b.tar.gz")["files"] == made["files"]
    said("keys", "create", "later")
    dry = said("restore", "b.tar.gz", "--dry-run")
    assert (dry["parts"], dry["changed"]) == (["database"], False)
    asked = run("restore", "b.tar.gz", typed="n\n")
    assert asked.exit_code == 1
    assert "Restore database in" in asked.output
    assert len(said("keys", "list")) == 2
    done = run("restore", "b.tar.gz", "--yes")
    assert "restored\n" in done.stdout
    (kept,) = (tmp_path / ".askdocs" / "replaced").iterdir()
    assert f"undo with: askdocs restore {kept}" in done.stdout
    assert [key["name"] for key in said("keys", "list")] == ["ci"]
    log = said("audit", "--since", "1d")
    assert [line["action"] for line in log] == [
        "key.create",
        "backup.make",
        "key.create",
        "backup.restore",
    ]
    assert {line["who"] for line in log} == {audit.actor()}
    assert said("restore", "--resume") == {"changed": False}
    for words, why in (
        (["restore"], "name the backup to restore, or use --resume"),
        (["restore", "b.tar.gz", "--only", "keys"], "--only keys: use one of database, index"),
        (["restore", "b.tar.gz", "--only", "index"], "has no index"),
        (["backup", "--out", "none/"], "none does not exist: create it first"),
    ):
        assert why in str(run(*words).exception)
