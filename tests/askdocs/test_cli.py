"""What the command says before anything heavy begins.

A test whose command starts threads, which end with the process, has a process of its own."""

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from http.server import HTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer

from askdocs import cli
from askdocs.state.home import Home
from askdocs.supervision import checks
from tests.askdocs.conftest import COMMAND, Run, RunHere
from tests.capacity.sizes import LLAMA
from tests.speaking import Handler, serving
from tests.waiting import until

pytestmark = pytest.mark.slow

Refused = Callable[..., list[str]]


@pytest.fixture
def refused(here: RunHere, wiki: Path, tmp_path: Path) -> Refused:
    """Runs `up` as it must not be run; returns the lines that are said."""

    def run(*words: str, **env: str) -> list[str]:
        ports = []
        for name in ("gateway", "widget", "site"):
            if f"--{name}-port" not in words:
                ports += [f"--{name}-port", str(checks.free_port())]
        docs = [] if "--docs" in words else ["--docs", str(wiki)]
        done = here("up", *docs, *ports, *words, **env)
        assert done.returncode == 2, done
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
        for begun in ("logs", "index.db", "running.json"):
            assert not (tmp_path / ".askdocs" / begun).exists()
        return done.stderr.splitlines()

    return run


def test_help_loads_few_modules_and_names_the_commands(askdocs: Run) -> None:
    shown = askdocs("--help", PYTHONVERBOSE="1")
    assert shown.returncode == 0
    loaded = set(re.findall(r"^import '([\w.]+)'", shown.stderr, re.MULTILINE))
    assert "askdocs.cli" in loaded
    heavy = ("httpx", "numpy", "openai", "pydantic", "sqlalchemy", "starlette", "alembic")
    assert not loaded & {*heavy, "gateway.runtime.app", "litellm", "onnxruntime", "torch"}
    assert len(loaded) < 450  # 274
    for name in ("up", "ask", "status", "doctor"):
        assert f" {name} " in shown.stdout


def test_every_command_is_in_one_group_of_the_help_which_is_one_page(here: RunHere) -> None:
    commands: Any = typer.main.get_command(cli.app)
    for group in cli.COMMANDS.values():
        for name, (_, _, text) in group.items():
            assert commands.commands[name].get_short_help_str(200) == text, name
    modules = {module for group in cli.COMMANDS.values() for module, _, _ in group.values()}
    parts = {"options", "slack_check"}  # and what the modules of groups are split into
    there = {file.stem for file in (Path(cli.__file__).parent / "commands").glob("*.py")}
    split = {name for name in there if name.split("_")[0] in {"dataset", "docs", "eval", "models"}}
    assert there - {"__init__"} == modules | parts | split
    shown = here("--help").stdout
    assert all(f"\n{group}:\n" in shown for group in cli.COMMANDS)
    assert len(shown.splitlines()) <= 50
    assert not re.search(r"\w\.\.\.", shown)


def test_the_version_is_that_of_the_package(here: RunHere) -> None:
    assert here("--version").stdout == f"askdocs {version('askdocs')}\n"


@pytest.mark.parametrize("name", ["up", "ask", "status", "doctor"])
def test_every_command_explains_itself(here: RunHere, name: str) -> None:
    shown = here(name, "--help")
    assert shown.returncode == 0
    assert "--home" in shown.stdout


def test_an_empty_folder_is_one_line_with_the_folder_and_the_fix(
    refused: Refused, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (line,) = refused("--docs", str(tmp_path / "empty"))
    assert line.startswith(f"askdocs: wiki: {tmp_path / 'empty'} has no Markdown page")
    assert "--docs DIR" in line


def test_a_folder_that_is_not_there_is_one_line(refused: Refused) -> None:
    (line,) = refused("--docs", "nowhere")
    said = "nowhere does not exist: name the folder of your wiki (--docs DIR)"
    assert line == f"askdocs: wiki: {said}"


def test_a_port_in_use_is_one_line_with_the_port_the_process_and_the_option(
    refused: Refused,
) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        (line,) = refused("--gateway-port", str(port))
    assert line.startswith(f"askdocs: gateway port: {port} is in use by ")
    assert f"(process {os.getpid()})" in line
    assert "--gateway-port N" in line


def test_a_database_url_that_is_none_is_one_line_without_the_password(refused: Refused) -> None:
    url = "postgresql://me:p@s:hunter2@127.0.0.1:5432/askdocs"
    (line,) = refused(ASKDOCS_DATABASE_URL=url)
    assert line.startswith("askdocs: the database URL cannot be read: set ASKDOCS_DATABASE_URL to ")
    assert "hunter2" not in line


def test_a_damaged_database_is_said_before_an_engine_that_never_comes(
    askdocs: Run, wiki: Path, tmp_path: Path
) -> None:
    home = Home(tmp_path / ".askdocs")
    home.make()
    home.database.write_bytes(b"SQLite format 3\0" + b"\xff" * 8176)
    ports = [f"--{name}-port={checks.free_port()}" for name in ("gateway", "widget", "site")]
    began = time.monotonic()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        done = askdocs("up", "--docs", str(wiki), "--engine-url", url, "--model", "m", *ports)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "askdocs.db: the database is damaged (" in line
    assert "askdocs restore FILE --only database" in line
    assert time.monotonic() - began < 100


def test_everything_that_is_wrong_is_said_at_once(refused: Refused) -> None:
    port = str(checks.free_port())
    lines = refused("--docs", "nowhere", "--gateway-port", port, "--site-port", port)
    assert [line.split(":")[1].strip() for line in lines] == ["wiki", "site port"]


def test_an_unknown_engine_is_one_line_with_the_choices(refused: Refused) -> None:
    (line,) = refused("--engine", "foo")
    assert "--engine" in line
    assert "'llama.cpp' or 'vllm'" in line
    assert "'foo'" in line


@pytest.mark.parametrize("port", ["0", "70000", "-1"])
def test_a_number_that_is_no_port_is_one_line(refused: Refused, port: str) -> None:
    (line,) = refused(f"--site-port={port}", "--site-port", port)
    assert "--site-port" in line
    assert port in line


@pytest.mark.parametrize(
    ("toml", "named"),
    [
        ("[up]\nengin = 'vllm'\n", "[up] engin: no such setting"),
        ("[upp]\n", "'upp' is not a section"),
        ("[up]\nthreads = 'many'\n", "[up] threads"),
        ("[up\n", "not valid TOML"),
        ("[widget]\nprot = 3\n", "[widget] prot: no such setting"),
        ("[gateway]\nkey = 'x'\n", "[gateway] key is a secret"),
    ],
)
def test_a_mistake_in_the_settings_file_is_one_line_with_file_and_key(
    refused: Refused, tmp_path: Path, toml: str, named: str
) -> None:
    (tmp_path / "askdocs.toml").write_text(toml)
    (line,) = refused()
    assert re.match(r"askdocs: askdocs\.toml:(\d+:)? ", line)
    assert named in line


@pytest.mark.parametrize(
    ("name", "value"),
    [("ASKDOCS_GATWAY_PORT", "4000"), ("ASKDOCS_UP_ENGIN", "vllm"), ("ASKDOCS_UP_THREADS", "all")],
)
def test_a_mistake_in_the_environment_is_one_line_with_the_variable(
    refused: Refused, name: str, value: str
) -> None:
    (line,) = refused(**{name: value})
    assert line.startswith(f"askdocs: {name}")


def test_a_settings_file_that_was_named_and_is_not_there_is_one_line(refused: Refused) -> None:
    (line,) = refused(ASKDOCS_CONFIG="/nowhere/askdocs.toml")
    assert line.startswith("askdocs: /nowhere/askdocs.toml: no such settings file")


def test_a_second_up_in_one_home_is_one_line_with_the_process(refused: Refused, home: Home) -> None:
    with home.lock():
        (line,) = refused("--home", str(home.root))
    assert line.startswith(f"askdocs: askdocs already runs in {home.root} (process {os.getpid()})")


def test_a_home_that_cannot_be_made_is_one_line(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (line,) = refused("--home", str(tmp_path / "file" / "home"))
    assert "cannot be written" in line
    assert "--home DIR" in line


def test_a_model_that_is_none_is_one_line_and_leaves_nothing_running(
    askdocs: Run, wiki: Path, tmp_path: Path
) -> None:
    ports = [f"--{name}-port={checks.free_port()}" for name in ("gateway", "widget", "site")]
    done = askdocs("up", "--docs", str(wiki), *ports, "--model", "nonsense")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    (line,) = done.stderr.splitlines()
    assert "nonsense" in line
    assert not Home(tmp_path / ".askdocs").is_locked()


def test_an_engine_elsewhere_that_is_not_there_is_one_line_with_its_address(
    askdocs: Run, wiki: Path
) -> None:
    ports = [f"--{name}-port={checks.free_port()}" for name in ("gateway", "widget", "site")]
    began = time.monotonic()
    done = askdocs("up", "--docs", str(wiki), *ports, "--engine-url", "http://127.0.0.1:9/v1")
    assert time.monotonic() - began < 100
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    (line,) = done.stderr.splitlines()
    assert "http://127.0.0.1:9/v1" in line


class _SmallCache(Handler):
    """A vLLM whose cache holds less than its context. The real one does not start so."""

    def do_GET(self) -> None:
        if self.path != "/metrics":
            self.json(200, {"data": [{"id": "base", "max_model_len": 131_072}]})
            return
        metrics = (
            'vllm:cache_config_info{block_size="16",cache_dtype="auto",engine="0",'
            'kv_cache_size_tokens="37696",num_gpu_blocks="2356"} 1.0\n'
        )
        self.send(200, metrics.encode())

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if "prompt" in asked:
            self.json(200, {"count": 1})
        else:
            self.json(400, {})


def test_a_vllm_elsewhere_whose_cache_is_smaller_than_its_context_is_one_line_with_the_fix(
    askdocs: Run, wiki: Path
) -> None:
    ports = [f"--{name}-port={checks.free_port()}" for name in ("gateway", "widget", "site")]
    with serving(HTTPServer(("127.0.0.1", 0), _SmallCache)) as server:
        url = f"http://127.0.0.1:{server.server_port}/v1"
        done = askdocs("up", "--docs", str(wiki), *ports, "--engine-url", url)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "holds 37,696 tokens, fewer than the context of 131,072: start vLLM with" in line


def test_what_a_gpu_cannot_hold_is_one_line_with_the_fix_before_vllm_is_installed(
    askdocs: Run, wiki: Path, tmp_path: Path
) -> None:
    smi = tmp_path / "bin" / "nvidia-smi"
    smi.parent.mkdir()
    smi.write_text(
        """#!/bin/sh
case "$*" in
-L) echo "GPU 0: NVIDIA A10G (UUID: GPU-0)" ;;
"--query-gpu=name,memory.total,memory.free --format=csv,noheader,nounits")
    echo "NVIDIA A10G, 23028, 22700" ;;
*) exit 6 ;;
esac
"""
    )
    smi.chmod(0o755)
    ports = [f"--{name}-port={checks.free_port()}" for name in ("gateway", "widget", "site")]
    done = askdocs(
        *("up", "--docs", str(wiki), *ports, "--engine", "vllm", "--model", LLAMA),
        ASKDOCS_UP_CONTEXT="131072",
        PATH=f"{smi.parent}:{os.environ['PATH']}",
        UV_OFFLINE="1",  # one that goes on does not download vLLM
        PIP_NO_INDEX="1",
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"askdocs: {LLAMA} with [up] context = 131072 and 4 adapters does not")
    assert "use --context " in line
    assert not (tmp_path / ".askdocs" / "environments").exists()


def test_ask_where_nothing_runs_is_one_line(here: RunHere) -> None:
    done = here("ask", "How?")
    assert done.returncode == 2
    assert done.stderr.startswith("askdocs: askdocs does not run in ")
    assert done.stderr.count("\n") == 1


def test_doctor_lists_what_is_well_and_what_to_mend(here: RunHere, wiki: Path) -> None:
    ports = {
        f"ASKDOCS_UP_{name}_PORT": str(checks.free_port()) for name in ("GATEWAY", "WIDGET", "SITE")
    }
    well = here("doctor", ASKDOCS_UP_DOCS=str(wiki), **ports)
    assert well.returncode == 0, well
    assert "ok   wiki: 2 Markdown pages in" in well.stdout
    assert "ok   model: SmolLM2-135M-Instruct on llama.cpp" in well.stdout
    ill = here("doctor", ASKDOCS_UP_DOCS="nowhere", **ports)
    assert ill.returncode == 1
    assert "FIX  wiki: nowhere does not exist" in ill.stdout
    found = json.loads(here("doctor", "--json", ASKDOCS_UP_DOCS="nowhere", **ports).stdout)
    assert [check["name"] for check in found if not check["ok"]] == ["wiki"]


def test_doctor_leaves_nothing_behind(here: RunHere, wiki: Path, tmp_path: Path) -> None:
    here("doctor", ASKDOCS_UP_DOCS=str(wiki))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["wiki"]


def test_up_below_nohup_outlives_its_terminal(wiki: Path, tmp_path: Path) -> None:
    ports = [
        word
        for name in ("gateway", "widget", "site")
        for word in (f"--{name}-port", str(checks.free_port()))
    ]
    log = tmp_path / "nohup.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["nohup", COMMAND, "up", "--docs", str(wiki), "--home", "home", *ports],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        until(lambda: (tmp_path / "home" / "logs" / "engine.log").exists(), 60)
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(3)
        assert "stopping" not in log.read_text()
        process.terminate()
        process.wait(60)
        assert "stopping" in log.read_text()
    finally:
        process.kill()
        process.wait()
