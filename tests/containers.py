"""compose.yaml in containers, with Debian's programs in the images of registries.

A Docker engine of the tests' own runs for as long as they do; its images stay in .cache/containers.
No registry is asked: tests/compose/stand-ins.Dockerfile makes what PostgreSQL, Redis, Prometheus,
Alertmanager and Python are in here, under the names that compose.yaml and deploy/Dockerfile have. A
second file for Compose takes away their digests, which only registries know, and nothing else.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from tests.parts import require
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "compose.yaml"
PACKAGES = "sudo apt-get install docker.io docker-cli docker-buildx docker-compose mmdebstrap"
STAND_INS = ROOT / "tests" / "compose" / "stand-ins.Dockerfile"
DEBIAN = (
    *("ca-certificates", "netbase", "python3-venv", "postgresql", "redis-server", "prometheus"),
    "prometheus-alertmanager",
)
# PostgreSQL's package would make a database.
NO_CLUSTER = (
    'mkdir -p "$1/etc/postgresql-common"'
    ' && echo "create_main_cluster = false" >"$1/etc/postgresql-common/createcluster.conf"'
)
LEFT_OUT = ("grafana",)  # no package has it
OVER = "stand-ins.yaml"  # the second file for Compose
SECONDS = 300


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


def _raise(error: OSError) -> None:
    raise error


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


class Docker:
    """A Docker engine, and the commands that ask it."""

    def __init__(self, socket: Path) -> None:
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(socket.parent),  # nobody's own settings of Docker
            "DOCKER_HOST": f"unix://{socket}",
            "BUILDKIT_PROGRESS": "plain",
        }

    def __call__(
        self, *words: str | Path, said: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(word) for word in ("docker", *words)],
            env=self.environment,
            input=said,
            stdin=None if said is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert not check or done.returncode == 0, (words, done.stdout[-3000:], done.stderr[-6000:])
        return done


@contextmanager
def engine() -> Iterator[Docker]:
    """Started, and stopped at the end. The test is skipped where it cannot be."""
    parts = ("dockerd", "docker", "mmdebstrap", "setpriv")
    require(all(map(shutil.which, parts)), PACKAGES)
    require(os.geteuid() == 0, "run the tests as root, for which Docker's engine asks")
    folder = Path(tempfile.mkdtemp(prefix="askdocs-docker-"))  # short: sockets have short names
    data = ROOT / ".cache" / "containers"
    data.mkdir(parents=True, exist_ok=True)
    socket, log = folder / "docker.sock", folder / "dockerd.log"
    command: list[str | Path] = [
        *("setpriv", "--pdeathsig", "TERM", "dockerd"),
        *("--data-root", data, "--exec-root", folder / "exec", "--pidfile", folder / "pid"),
        *("--host", f"unix://{socket}", "--bridge", "none"),
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    docker = Docker(socket)
    try:
        until(lambda: process.poll() or not docker("info", check=False).returncode, 60)
        assert process.poll() is None, log.read_text()[-3000:]
        yield docker
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


def images() -> dict[str, str]:
    """What stands in for each image that is named by digest: a stage of STAND_INS."""
    services = yaml.safe_load(FILE.read_text(encoding="utf-8"))["services"]
    named = {service["image"] for service in services.values() if "image" in service}
    named.add(base())
    stages = re.findall(r"^FROM debian AS (\w+)$", STAND_INS.read_text(encoding="utf-8"), re.M)
    found = {image: re.split("[:@]", image)[0].split("/")[-1] for image in named}
    return {image: stage for image, stage in found.items() if stage in stages}


def base() -> str:
    """The image that deploy/Dockerfile begins with."""
    text = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    (found,) = re.findall(r"^FROM (\S+@\S+) AS base$", text, re.M)
    return str(found)


def make_stand_ins(docker: Docker) -> None:
    """Does nothing twice: Docker knows what it has built."""
    if docker("image", "inspect", "debian", check=False).returncode:
        with tempfile.TemporaryDirectory() as folder:
            tar = Path(folder) / "debian.tar"
            command: list[str | Path] = [
                *("mmdebstrap", "--variant=minbase", "--include", ",".join(DEBIAN)),
                f"--essential-hook={NO_CLUSTER}",
                *("trixie", tar),
            ]
            made = subprocess.run(command, capture_output=True, text=True, check=False)
            assert made.returncode == 0, made.stderr[-3000:]
            docker("import", tar, "debian")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy("/etc/ssl/certs/ca-certificates.crt", folder)
        (Path(folder) / "pip.conf").write_text(_pip_settings())
        for image, stage in images().items():
            docker(
                *("build", "--network", "host", "--target", stage, "--tag", image.split("@")[0]),
                *("--build-context", f"machine={folder}", "--file", STAND_INS, folder),
            )


def _pip_settings() -> str:
    """How this machine's pip reaches its index; never a part of the repository."""
    said = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    wanted = r"^(?:global|:env:)\.(index-url|extra-index-url|trusted-host|proxy|timeout)='(.*)'$"
    lines = [f"{name} = {value}" for name, value in re.findall(wanted, said, re.M)]
    return "\n".join(["[global]", *dict.fromkeys(lines), ""])


class Composed:
    """The services of compose.yaml, by their names."""

    def __init__(self, docker: Docker, folder: Path, env_file: Path) -> None:
        self._docker = docker
        self._folder = folder
        self._env_file = env_file
        self._names = list(read(env_file)["services"])
        self._over = folder / OVER
        self._over.write_text(json.dumps({"services": self._without_digests()}))

    def _without_digests(self) -> dict[str, Any]:
        known, pinned = images(), base()
        over: dict[str, Any] = {name: {"profiles": ["left-out"]} for name in LEFT_OUT}
        for name, service in read(self._env_file, "*")["services"].items():
            if service.get("image") in known:
                over[name] = {"image": service["image"].split("@")[0]}
            elif name not in over and "build" in service:
                stand_in = f"docker-image://{pinned.split('@')[0]}"
                build = {"network": "host", "additional_contexts": {pinned: stand_in}}
                over[name] = {"build": build}
        return over

    @property
    def names(self) -> list[str]:
        """Of what is started."""
        return [name for name in self._names if name not in LEFT_OUT]

    def __call__(
        self, *words: str, said: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """`docker compose WORDS`."""
        files = ("--file", FILE, "--file", self._over, "--env-file", self._env_file)
        return self._docker("compose", *files, *words, said=said, check=check)

    def up(self, *names: str) -> None:
        """Start all, or some, and wait until each is healthy."""
        done = self("up", "--detach", "--wait", "--wait-timeout", str(SECONDS), *names, check=False)
        assert done.returncode == 0, done.stderr[-3000:] + self.logs()

    def exec(
        self, name: str, *command: str, said: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """By Docker itself, which is quicker than to let Compose read its files each time."""
        return self._docker(
            "exec", "--interactive", self._id(name), *command, said=said, check=False
        )

    def run(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """In place of the service's own command, in a container that is deleted at the end."""
        return self("run", "--rm", "-T", name, *arguments, check=False)

    def stop(self, name: str) -> None:
        """It must end by itself, within its time."""
        self("stop", name)
        code = self.facts(name)["State"]["ExitCode"]
        # uvicorn ends by the signal, once it has stopped.
        assert code in (0, 128 + signal.SIGTERM), (name, code, self.logs(name))

    def kill(self, name: str) -> None:
        """As the kernel does where memory is short; `docker kill` would be meant to last."""
        os.kill(self.facts(name)["State"]["Pid"], signal.SIGKILL)

    def facts(self, name: str) -> dict[str, Any]:
        """All that Docker knows of its container."""
        (found,) = json.loads(self._docker("inspect", self._id(name)).stdout)
        return dict(found)

    def _id(self, name: str) -> str:
        """Of the service's container, not of one of `run`."""
        labels = {"service": name, "oneoff": "False"}
        filters = (f"--filter=label=com.docker.compose.{key}={labels[key]}" for key in labels)
        (id,) = self._docker("ps", "--all", "--quiet", "--no-trunc", *filters).stdout.split()
        return id

    def written(self, name: str) -> list[str]:
        """The paths in the container's own layer, that is, outside of its volumes."""
        facts = self.facts(name)
        # `docker diff` compares all files of the image where the kernel may redirect folders.
        if upper := (facts["GraphDriver"]["Data"] or {}).get("UpperDir"):
            # Path.rglob would leave out a folder that may not be read, or all if there is none.
            with suppress(OSError):
                return [
                    f"/{os.path.relpath(os.path.join(folder, name), upper)}"
                    for folder, folders, files in os.walk(upper, onerror=_raise)
                    for name in (*folders, *files)
                ]
        said = self._docker("diff", facts["Id"]).stdout
        return [line.split(maxsplit=1)[1] for line in said.splitlines()]

    def mounts(self, name: str) -> list[str]:
        """Where volumes, files and memory are mounted in it."""
        facts = self.facts(name)
        return [mount["Destination"] for mount in facts["Mounts"]] + list(
            facts["HostConfig"].get("Tmpfs") or ()
        )

    def described(self) -> dict[str, dict[str, Any]]:
        """What compose.yaml says of those that are started."""
        services = read(self._env_file)["services"]
        return {name: services[name] for name in self.names}

    def users(self, name: str) -> set[str]:
        """The numbers of the users, and of their groups, that its processes run as."""
        said = self._docker("top", self.facts(name)["Id"], "-eo", "pid,uid,gid").stdout
        return {":".join(line.split()[1:]) for line in said.splitlines()[1:]}

    def memory(self) -> dict[str, tuple[int, int]]:
        """Bytes that each holds, and that it may hold."""
        facts = {name: self.facts(name) for name in self.names}
        ids = {found["Id"]: name for name, found in facts.items()}
        shown = "{{.ID}} {{.MemUsage}}"
        said = self._docker("stats", "--no-stream", "--no-trunc", "--format", shown, *ids).stdout
        units = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
        return {
            ids[id]: (
                int(float(number) * units[unit]),
                facts[ids[id]]["HostConfig"]["Memory"],
            )
            for id, number, unit in re.findall(r"^(\w+) ([\d.]+)(\w+)", said, re.M)
        }

    def address(self, name: str) -> str:
        """Of its container, for who is on this machine."""
        networks: Mapping[str, Any] = self.facts(name)["NetworkSettings"]["Networks"]
        return str(next(iter(networks.values()))["IPAddress"])

    def logs(self, *names: str) -> str:
        said = self("logs", "--no-log-prefix", "--tail", "2000", *names).stdout
        return said.replace("\x1b[2K", "")  # Compose 2.26 clears lines, also in a pipe

    def down(self) -> None:
        """With all volumes."""
        self("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "5")
