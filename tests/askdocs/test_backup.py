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
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from askdocs.cli import app
from askdocs.state import backups, restoring
from askdocs.state.backups import DATABASE, INDEX, PARTS, InstallationPaths, Part
from askdocs.state.home import Home
from askdocs.terminal import stopping
from core import audit, database
from core.errors import AskdocsError
from gateway.access import keys, revocations
from gateway.access.keys import Keys
from gateway.routing import aliases
from gateway.settings import Alias
from tests.askdocs.conftest import COMMAND
from tests.askdocs.kill_restore import places as places_in
from tests.askdocs.kill_restore import quiet
from tests.parts import require
from training.versions.manifest import Dataset, Facts
from widget.service.store import Answered, NewQuestion, Store
from wiki.index import index
from wiki.index.store import NoIndex
from wiki.sources.markdown import parse

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
    backups.make(places, out, weights, quiet)
    return out


def restored(
    home: Home, places: InstallationPaths, file: Path, *parts: Part
) -> tuple[Path | None, restoring.RestorePlan]:
    found = restoring.plan(places, file, parts or PARTS, quiet)
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
    ]
    assert {(one.mode, one.uid, one.uname) for one in members.values()} == {(0o600, 0, "")}
    assert part.secret.encode() not in whole
    assert installation.encode() not in whole
    manifest = backups.read(file, quiet).manifest
    assert manifest.revision == database.HEAD
    assert manifest.versions == ("docs@v1",)
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
        backups.read(file / "b", quiet)


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
    backups.extract(backups.read(file, quiet), ("database",), tmp_path / "copy", quiet)
    with closing(sqlite3.connect(tmp_path / "copy" / DATABASE)) as db:
        (a,) = db.execute("SELECT count(*) FROM a").fetchone()
        (b,) = db.execute("SELECT count(*) FROM b").fetchone()
    assert begun <= a == b <= written


def test_a_restore_brings_back_what_was_and_keeps_what_it_replaced(
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
    for path in kept.iterdir():
        path.replace(home.root / path.name)
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
                backups.read(bad, quiet)
            refused += 1
    assert refused > 100
    bad.write_bytes(whole)
    backups.read(bad, quiet)


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
    manifest = backups.read(file, quiet).manifest
    bad = tmp_path / "bad.tar.gz"

    def refused(content: dict[str, bytes], why: str) -> None:
        with pytest.raises(AskdocsError, match=why):
            restored(home, places, packed(bad, content))

    bad.write_text("dear diary")
    with pytest.raises(AskdocsError, match="or not a backup of askdocs"):
        backups.read(bad, quiet)
    refused({"diary.txt": b"x"}, "it has no manifest.json")
    refused({"manifest.json": b"[1]"}, "cannot be read")
    newer = manifest.model_copy(update={"revision": "9998", "askdocs": "7.0"})
    refused(
        {"manifest.json": newer.model_dump_json().encode()},
        r"was made by a newer askdocs \(7.0, schema 9998; this is",
    )
    future = json.dumps({"format": 2, "unheard": "of"}).encode()
    refused({"manifest.json": future}, "was made by a newer askdocs.*upgrade askdocs first")
    outside = {"manifest.json": manifest.model_dump_json().encode(), "index/../../evil": b""}
    refused(outside, "is not a path of a backup")
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
        backups.make(places, tmp_path / "b.tar.gz", False, stop)


def test_a_restore_that_is_stopped_before_it_counts_leaves_nothing_behind(
    home: Home, places: InstallationPaths, engine: sa.Engine, tmp_path: Path
) -> None:
    file = backed_up(places, tmp_path / "b.tar.gz")
    Keys(engine).create("later")
    engine.dispose()
    found = restoring.plan(places, file, PARTS, quiet)

    def stop(step: str, done: int, total: int | None) -> None:
        if step == "unpacking files" and done == 1:  # the database lies ready
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt), stopping.stoppable():
        restoring.restore(home, places, found, stop)
    assert not list(home.root.glob(".restore-*"))
    assert names(home) == ["ci", "later"]


@pytest.mark.slow
def test_a_kill_at_any_point_of_a_restore_leaves_each_part_old_or_new(
    home: Home, places: InstallationPaths, engine: sa.Engine, tmp_path: Path
) -> None:
    """And the same command again brings back the rest."""
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
        assert all(value in (old[part], new[part]) for part, value in line["after"].items()), line
        assert line["again"] == new, line
        assert line["left"] == [], line
    found = [line["after"] for line in lines if line["killed"]]
    assert found.count(old) > 5
    assert new in found
    assert not lines[-1]["killed"]


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
    if not weights:
        _, found = restored(home, places, file, "versions")
        assert found.versions == {"docs@v1": restoring.ABSENT}
        return
    _, found = restored(home, places, file, "versions")
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
    assert (kept / "askdocs.db").read_bytes()[100:] == damaged[100:]


def test_a_restore_after_damage_opens_no_key_that_was_closed_since_and_names_the_open_ones(
    home: Home, places: InstallationPaths, engine: sa.Engine, tmp_path: Path
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
    lose_the_header(home.database)
    assert revocations.beside(home.database).stat().st_mode & 0o777 == 0o600
    _, found = restored(home, places, file, "database")
    assert store.get(leaked.id).revoked is not None
    entry = store.find(turned.id)
    assert entry is not None
    assert all(secret.valid_until is not None for secret in entry.secrets)
    assert found.unchecked == ["ci", "turned"]


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


def test_of_postgresql_the_script_is_named(places: InstallationPaths, tmp_path: Path) -> None:
    there = replace(places, url="postgresql://ann@127.0.0.1:1/askdocs")
    file = backed_up(places, tmp_path / "b.tar.gz")
    with pytest.raises(AskdocsError, match=r"deploy/backup\.sh"):
        backed_up(there, tmp_path / "c.tar.gz")
    with pytest.raises(AskdocsError, match=r"deploy/backup\.sh"):
        restoring.plan(there, file, PARTS, quiet)


def test_the_commands_tell_people_and_scripts_and_ask_before_they_act(tmp_path: Path) -> None:
    def run(*words: str, typed: str = "") -> Result:
        return CliRunner().invoke(app, words, input=typed)

    def said(*words: str) -> Any:
        done = run(*words, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    said("keys", "create", "ci")
    made = said("backup", "--out", "b.tar.gz")
    assert (made["file"], made["revision"]) == ("b.tar.gz", database.HEAD)
    said("keys", "create", "later")
    dry = said("restore", "b.tar.gz", "--dry-run")
    assert dry["files"] == made["files"]
    assert (dry["parts"], dry["changed"]) == (["database"], False)
    asked = run("restore", "b.tar.gz", typed="n\n")
    assert asked.exit_code == 1
    assert "Restore database in" in asked.output
    assert len(said("keys", "list")) == 2
    done = run("restore", "b.tar.gz", "--yes")
    assert "restored\n" in done.stdout
    (kept,) = (tmp_path / ".askdocs" / "replaced").iterdir()
    assert f"the replaced files are in {kept}" in done.stdout
    assert [key["name"] for key in said("keys", "list")] == ["ci"]
    log = said("audit", "--since", "1d")
    assert [line["action"] for line in log] == [
        "key.create",
        "backup.make",
        "key.create",
        "backup.restore",
    ]
    assert {line["who"] for line in log} == {audit.actor()}
    for words, why in (
        (["restore", "b.tar.gz", "--only", "keys"], "--only keys: use one of database, index"),
        (["restore", "b.tar.gz", "--only", "index"], "has no index"),
        (["backup", "--out", "none/"], "none does not exist: create it first"),
    ):
        assert why in str(run(*words).exception)
