"""The processes that compose.yaml describes, started without containers.

Compose itself reads the file and an env file. Bubblewrap puts walls around each service as they are
declared: its user, a root that nothing can be written to, its volumes, its variables and no others,
and the names of those services that share a network with it. Its image is the environment of this
checkout, or a server from Debian's packages.

All services are in the network of the process that starts them, each on the port that it has in its
container: start it in an empty one (`alone`).
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import IO, Any

import psutil

from tests.parts import require
from tests.starting import shipped

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "compose.yaml"
SECONDS = 300  # for a service to become healthy on a busy machine; compose.yaml has shorter ones
SHARED = ("/usr", "/etc/ssl", "/etc/ld.so.cache", "/etc/nsswitch.conf", "/etc/alternatives")
# What the images of others have in it; ours has nobody.
USERS = {"postgres": (70, 70), "redis": (999, 1000), "nobody": (65534, 65534)}

# What the image's own entrypoint does:
# https://github.com/docker-library/postgres/blob/master/17/alpine3.23/docker-entrypoint.sh
POSTGRES = """
set -eu
if [ "$1" = postgres ]; then
    if [ ! -s "$PGDATA/PG_VERSION" ]; then
        echo "$POSTGRES_PASSWORD" >/tmp/password
        initdb --username="$POSTGRES_USER" --pwfile=/tmp/password $POSTGRES_INITDB_ARGS
        echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
        export PGPASSWORD="$POSTGRES_PASSWORD"
        pg_ctl start --wait --options="-c listen_addresses=''"
        createdb --host=/run/postgresql --username="$POSTGRES_USER" "$POSTGRES_USER"
        pg_ctl stop --wait
    fi
    set -- "$@" -c 'listen_addresses=*'
fi
exec "$@"
"""


@dataclass(frozen=True)
class Image:
    """What stands in for one: its entrypoint, its variables and files."""

    entrypoint: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    walls: tuple[str, ...] = ()
    workdir: str = "/"
    checkout: bool = False
    """Does its code lie in this checkout?"""


def _ours() -> Image:
    """The environment of this checkout, with what deploy/Dockerfile sets."""
    text = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    last = text[text.rindex("\nFROM ") :]
    variables = dict(
        word.split("=", 1)
        for line in re.findall(r"^ENV (.*)$", last, re.M)
        for word in shlex.split(line)
    )
    variables["PATH"] = variables["PATH"].replace("$PATH", "/usr/local/bin:/usr/bin:/bin")
    workdir = re.findall(r"^WORKDIR (.*)$", last, re.M)[-1]
    folders = {sys.base_prefix, str(ROOT)} - {"/usr"}
    return Image(
        environment=variables,
        walls=(
            *(word for folder in sorted(folders) for word in ("--ro-bind", folder, folder)),
            *("--ro-bind", sys.prefix, "/opt/askdocs"),
            *("--ro-bind", str(shipped()), "/app/model.gguf"),
        ),
        workdir=workdir,
        checkout=True,
    )


def images() -> dict[str, Image]:
    """By the name of the repository. Skips the test where a server is missing."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    require(bool(found), "apt-get install postgresql")
    require(shutil.which("redis-server") is not None, "apt-get install redis-server")
    require(shutil.which("prometheus") is not None, "apt-get install prometheus")
    alertmanager = shutil.which("prometheus-alertmanager")  # Debian's name of it
    require(alertmanager is not None, "apt-get install prometheus-alertmanager")
    return {
        "askdocs": _ours(),
        "postgres": Image(
            ("sh", "-c", POSTGRES, "sh"),
            {
                "PATH": f"{found[-1]}:/usr/bin:/bin",
                "PGDATA": "/var/lib/postgresql/data",
                "LANG": "C.UTF-8",
            },
        ),
        "redis": Image(),
        "prom/prometheus": Image(("prometheus",)),
        "prom/alertmanager": Image(
            environment={"PATH": "/opt/alertmanager:/usr/bin:/bin"},
            walls=("--ro-bind", str(alertmanager), "/opt/alertmanager/alertmanager"),
        ),
    }


def compose() -> list[str]:
    """The command that reads compose.yaml; the test is skipped without one."""
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    plugin = (
        shutil.which("docker")
        and not subprocess.run(
            ["docker", "compose", "version"], capture_output=True, check=False
        ).returncode
    )
    require(bool(plugin), "apt-get install docker-compose")
    return ["docker", "compose"]


def read(env_file: Path, *profiles: str, over: tuple[Path, ...] = ()) -> dict[str, Any]:
    """compose.yaml as Compose reads it, with its variables filled in, and the files `over` it.

    `profiles` are in place of those that the env file names.
    """
    done = subprocess.run(
        [
            *compose(),
            f"--env-file={env_file}",
            *(f"--file={file}" for file in (FILE, *over)),
            *(word for profile in profiles for word in ("--profile", profile)),
            *("config", "--format", "json"),
        ],
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout, object_hook=_unescaped)
    return found


def _unescaped(table: dict[str, Any]) -> dict[str, Any]:
    """Compose prints what it could read again: a dollar twice."""

    def plain(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace("$$", "$")
        return [plain(item) for item in value] if isinstance(value, list) else value

    return {key: plain(value) for key, value in table.items()}


def alone(*command: str | Path) -> list[str]:
    """The command in a network of its own, which leads nowhere; all that it starts ends with it."""
    require(shutil.which("bwrap") is not None, "apt-get install bubblewrap")
    # With the /proc that is there: a user namespace below may only mount one of its own if it sees
    # all of another.
    walls = ["--unshare-user", "--unshare-net", "--die-with-parent", "--dev-bind", "/", "/"]
    tried = subprocess.run(["bwrap", *walls, "true"], capture_output=True, check=False)
    require(tried.returncode == 0, "allow user namespaces: sysctl user.max_user_namespaces=10000")
    return ["bwrap", *walls, "--", *map(str, command)]


class Composed:
    """The services of a project, by their names."""

    def __init__(self, folder: Path, project: dict[str, Any], *others: dict[str, Any]) -> None:
        """`others` are the same project with other profiles, whose services can be `run`."""
        self._folder = folder
        self._names = list(project["services"])
        self._services: dict[str, dict[str, Any]] = {}
        self.change(project, *others)
        self._images = images()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        passwd = [f"{name}:x:{uid}:{gid}::/tmp:/bin/sh" for name, (uid, gid) in USERS.items()]
        group = [f"{name}:x:{gid}:" for name, (_, gid) in USERS.items()]
        self._write("passwd", "root:x:0:0::/root:/bin/sh", *passwd)
        self._write("group", "root:x:0:", *group)

    @property
    def left_out(self) -> list[str]:
        """Services whose image has nothing that stands in for it here."""
        return [name for name in self._names if self._image(name) is None]

    def environment(self, name: str) -> dict[str, str]:
        """The variables that compose.yaml gives the service."""
        return dict(self._services[name].get("environment") or {})

    def up(self) -> list[str]:
        """Start all, each when those that it depends on are as it wants them; returns the order."""
        wanted = {
            name: [other for other in self._depends(name) if other in self._names]
            for name in self._names
            if name not in self.left_out
        }
        order = list(TopologicalSorter(wanted).static_order())
        for name in order:
            for other in wanted[name]:
                assert self._depends(name)[other]["condition"] == "service_healthy"
                self.wait(other)
            self.start(name)
        for name in order:
            self.wait(name)
        return order

    def start(self, name: str) -> None:
        """Start the service, as `docker compose start` does."""
        assert name not in self._running
        service = self._services[name]
        with self.log(name).open("ab") as log:
            self._running[name] = self._begin(name, service.get("command") or [], log)

    def wait(self, name: str) -> None:
        """Until the service's own health check passes."""
        test = self._services[name]["healthcheck"]["test"]
        command = ["sh", "-c", *test[1:]] if test[0] == "CMD-SHELL" else test[1:]
        deadline = time.monotonic() + SECONDS
        while (done := self.exec(name, *command)).returncode:
            said = f"{name}: {done.stdout}{done.stderr}\n{self.log(name).read_text()[-3000:]}"
            assert self._running[name].poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(1)

    def change(self, project: dict[str, Any], *others: dict[str, Any]) -> None:
        """What is started from now on is as they say: the env file is another one."""
        for one in (*others, project):
            self._services |= one["services"]

    def exec(
        self, name: str, *command: str, said: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """As `docker compose exec` does; `said` is its standard input."""
        return subprocess.run(
            [*self._walls(name), *command],
            input=said,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def run(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """As `docker compose run --rm` does: in place of the service's own command."""
        command = [*self._walls(name), *self._entrypoint(name), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)

    def stop(self, name: str) -> None:
        """As `docker compose stop` does.

        Raises subprocess.TimeoutExpired: it would have been killed.
        """
        # The images' own signals: https://docs.docker.com/reference/dockerfile/#stopsignal
        number = signal.SIGINT if name == "postgres" else signal.SIGTERM
        process = self._running[name]
        self._main(name).send_signal(number)
        grace = self._services[name].get("stop_grace_period", "10s")
        found = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", grace)
        assert found, grace
        code = process.wait(60 * int(found[1] or 0) + int(found[2] or 0))
        # uvicorn ends by the signal, once it has stopped.
        assert code in (0, 128 + number), self.log(name).read_text()[-3000:]
        del self._running[name]

    def memory(self, name: str) -> int:
        """Bytes that the processes of the service hold, shared ones by their share."""
        first = self._main(name)
        return sum(one.memory_full_info().pss for one in [first, *first.children(recursive=True)])

    def limit(self, name: str) -> int:
        """Bytes that compose.yaml gives it."""
        return int(self._services[name]["deploy"]["resources"]["limits"]["memory"])

    def log(self, name: str) -> Path:
        """The file with all that the service has said."""
        return self._folder / f"{name}.log"

    def down(self) -> None:
        """Kill what still runs."""
        for process in self._running.values():
            process.kill()
            process.wait()

    def _main(self, name: str) -> psutil.Process:
        """The service's own process: bubblewrap is one outside and one inside of the walls."""
        found = psutil.Process(self._running[name].pid)
        while found.name() == "bwrap":
            (found,) = found.children()
        return found

    def _begin(self, name: str, command: list[str], log: IO[bytes]) -> "subprocess.Popen[bytes]":
        argv = [*self._walls(name), *self._entrypoint(name), *command]
        return subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )

    def _entrypoint(self, name: str) -> list[str]:
        image = self._image(name)
        assert image is not None
        return [*(self._services[name].get("entrypoint") or image.entrypoint)]

    def _image(self, name: str) -> Image | None:
        repository = re.split(r"[:@]", self._services[name]["image"])[0]
        return self._images.get(repository)

    def _depends(self, name: str) -> dict[str, Any]:
        return self._services[name].get("depends_on") or {}

    def _walls(self, name: str) -> list[str]:
        """bwrap and all that compose.yaml says of the service's surroundings."""
        service, image = self._services[name], self._image(name)
        assert image is not None
        uid, gid = service["user"].split(":")
        walls = ["bwrap", "--unshare-user", "--unshare-pid", "--unshare-ipc", "--die-with-parent"]
        walls += ["--uid", uid, "--gid", gid, "--new-session", "--cap-drop", "ALL"]
        for path in SHARED:
            walls += ["--ro-bind-try", path, path]
        for path in ("bin", "sbin", "lib", "lib64"):
            if Path("/", path).is_symlink():
                walls += ["--symlink", f"usr/{path}", f"/{path}"]
        walls += ["--dev", "/dev", "--proc", "/proc", "--symlink", "../run", "/var/run"]
        for file in ("passwd", "group"):
            walls += ["--ro-bind", str(self._folder / file), f"/etc/{file}"]
        walls += ["--ro-bind", str(self._hosts(name)), "/etc/hosts"]
        walls += ["--dir", image.workdir, *image.walls]
        # A mount lies over those of the folders above it.
        mounts = [(entry.split(":")[0], ["--tmpfs"]) for entry in service.get("tmpfs") or []]
        for volume in service.get("volumes") or []:
            source = Path(volume["source"])
            if volume["type"] == "volume":
                source = self._folder / "volumes" / source
                source.mkdir(parents=True, exist_ok=True, mode=0o700)
            how = "--ro-bind" if volume.get("read_only") else "--bind"
            mounts.append((volume["target"], [how, str(source)]))
        for target, mount in sorted(mounts):
            walls += [*mount, target]
            if mount == ["--tmpfs"] and image.checkout and ROOT.is_relative_to(target):
                walls += ["--ro-bind", str(ROOT), str(ROOT)]
        if service.get("read_only"):
            walls += ["--remount-ro", "/"]
        walls += ["--chdir", service.get("working_dir") or image.workdir, "--clearenv"]
        for key, value in {**image.environment, **self.environment(name)}.items():
            walls += ["--setenv", key, value]
        if "PATH" not in image.environment:
            walls += ["--setenv", "PATH", "/usr/bin:/bin"]
        return [*walls, "--"]

    def _hosts(self, name: str) -> Path:
        """The names that the service knows: of itself, and of those in its networks."""
        lines = ["127.0.0.1 localhost", "::1 localhost"]
        mine = self._services[name]["networks"]
        for other, service in self._services.items():
            shared = {net: given or {} for net, given in service["networks"].items() if net in mine}
            aliases = [alias for given in shared.values() for alias in given.get("aliases") or []]
            if shared:
                lines.append(" ".join(["127.0.0.1", other, *aliases]))
        return self._write(f"hosts-{name}", *lines)

    def _write(self, name: str, *lines: str) -> Path:
        path = self._folder / name
        path.write_text("\n".join(lines) + "\n")
        return path
