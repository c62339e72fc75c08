"""No part connects to anything that the docs do not name.

Each runs for real in a network of its own, in which every address is this machine and every look-up
and connection is written down (recorder.py). By default the docs name none at all. Training runs so
in tests/askdocs/test_train_slow.py.
"""

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from askdocs import environments
from askdocs.supervision.checks import free_port
from gateway.upstream.engines import llamacpp
from tests import starting
from tests.askdocs.test_dataset_check import rows, write
from tests.parts import require
from tests.security import apart
from tests.security.fuzzing import tool
from tests.vllm_serving import convert

pytestmark = pytest.mark.slow

# A library would ask their makers whether they work. In halves: scans of others do not stop here.
KEYS = (
    "xox" + "b-123456789012-123456789012-AbCdEfGhIjKlMnOpQrStUvWx",
    "https://hooks.slack.com/services/" + "T0A1B2C3D/B0A1B2C3D/AbCdEfGhIjKlMnOpQrStUvWx",
    "ghp_" + "q7Rb2Kx9Lm4Tz8Wc5Vn1Yp6Ds3Fg0HjAeUiQ",
    "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc",
)
CACHE = starting.REPO / ".cache"
COMMAND = Path(sys.executable).with_name("askdocs")
Reached = Callable[..., list[str]]


@pytest.fixture
def reached(tmp_path: Path) -> Reached:
    """What a command wanted to reach beside this machine."""

    def run(*command: str | Path, **env: str) -> list[str]:
        report = tmp_path / "reached.json"
        done = subprocess.run(
            apart.apart(report, *command),
            cwd=tmp_path,
            env=apart.variables(tmp_path) | env,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return apart.reached(report)

    return run


def test_a_look_up_and_a_connection_are_seen(reached: Reached) -> None:
    code = """
        import contextlib, socket
        for place in (("wiki.example.com", 443), ("192.0.2.7", 80), ("127.0.0.1", 9)):
            with contextlib.suppress(OSError):
                socket.create_connection(place, 3)
    """
    found = reached(sys.executable, "-c", textwrap.dedent(code))
    assert found == ["wiki.example.com", "198.18.0.1:443", "192.0.2.7:80"]


USING = """
    import signal, subprocess, sys, time
    from pathlib import Path
    import httpx

    began = time.monotonic()
    command, gateway, widget, site, model = sys.argv[1:]
    ports = ("--gateway-port", gateway, "--widget-port", widget, "--site-port", site)
    engine = ("--engine", "vllm", "--model", model)
    said = Path("up.out")
    with said.open("w") as out:
        up = [command, "up", "--docs", "wiki", "--home", "home", *ports, *engine]
        up = subprocess.Popen(up, stdout=out, stderr=subprocess.STDOUT)
    try:
        for told in ("\\nready after", " requests of 2,048\\n"):
            while told not in said.read_text():
                assert up.poll() is None, said.read_text()
                assert time.monotonic() - began < 500, said.read_text()
                time.sleep(0.5)
        # Of 2 GiB.
        assert "its cache holds 1,398,080 tokens, 682.7 requests of 2,048\\n" in said.read_text()
        sync = (command, "docs", "sync", "second", "--site-url", "http://127.0.0.1:1/")
        subprocess.run([*sync, "--home", "home"], check=True)
        with httpx.Client(trust_env=False, timeout=60) as http:
            box = f"http://127.0.0.1:{widget}"
            assert http.get(f"http://127.0.0.1:{site}/coffee/").status_code == 200
            assert http.get(f"{box}/box").status_code == 200
        subprocess.run([command, "docs", "search", "coffee", "--home", "home"], check=True)
        # onnxruntime waits for some seconds before it connects.
        time.sleep(max(0, 45 - (time.monotonic() - began)))
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(60)
"""


@pytest.mark.timeout(700)  # vLLM takes minutes to start on a busy machine
def test_vllm_gateway_box_site_and_sync_reach_nothing(
    reached: Reached, vllm_python: Path, shallow: Path, tmp_path: Path
) -> None:
    """And `up` says what the cache of its vLLM holds."""
    model = convert(vllm_python, shallow, tmp_path / "small")
    for name in ("wiki", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "coffee.md").write_text("# Coffee\n\nThe machine is on floor 3.\n")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "environments").symlink_to(vllm_python.parents[2])
    words = [COMMAND, *(str(free_port()) for _ in range(3)), model]
    code = textwrap.dedent(USING)
    assert reached(sys.executable, "-c", code, *words, ASKDOCS_UP_CONTEXT="2048") == []


def test_the_check_of_a_dataset_reaches_nothing(reached: Reached, tmp_path: Path) -> None:
    home = CACHE / "dataset"
    require(environments.find(environments.DATASET, home) is not None, "make setup-dev")
    lines = [*rows(), {"question": "Which keys are there?", "answer": f"{' and '.join(KEYS)}."}]
    file = write(tmp_path / "rows.jsonl", lines)
    code = """
        import subprocess, sys
        done = subprocess.run([*sys.argv[1:], "--json"], capture_output=True, text=True)
        assert done.returncode == 1 and done.stdout.count('"secret"') >= 4, done.stdout
    """
    words = (COMMAND, "dataset", "check", str(file))
    command = (sys.executable, "-c", textwrap.dedent(code), *words)
    assert reached(*command, ASKDOCS_HOME=str(home)) == []


def test_a_scan_for_secrets_asks_nobody_whether_they_work(reached: Reached, tmp_path: Path) -> None:
    (tmp_path / "keys.py").write_text("".join(f'key = "{key}"\n' for key in KEYS))
    code = """
        import subprocess, sys
        done = subprocess.run(sys.argv[1:], capture_output=True, text=True)
        assert done.returncode == 1 and done.stdout.count("Secret Type") >= 4, done.stdout
    """
    scan = (tool("detect-secrets-hook"), "--no-verify", tmp_path / "keys.py")
    assert reached(sys.executable, "-c", textwrap.dedent(code), *map(str, scan)) == []


def test_the_libraries_of_evaluation_reach_nothing(reached: Reached, tmp_path: Path) -> None:
    found = environments.find(environments.EVAL, CACHE / "eval")
    require(found is not None, "python -m askdocs.environments eval --home .cache/eval")
    store = """
import lancedb
lancedb.connect("store").create_table("rows", [{"vector": [0.5, 0.5], "text": "a"}])
"""
    assert reached(str(found), "-c", store, XDG_DATA_HOME=str(tmp_path)) == []


def test_llama_cpp_reaches_nothing(reached: Reached) -> None:
    port = free_port()
    gguf = starting.shipped()
    launch = llamacpp.launch(
        gguf, port=port, served_name="base", context=1024, threads=2, parallel=1
    )
    code = """
        import signal, subprocess, sys, time
        import httpx

        engine = subprocess.Popen(sys.argv[2:])
        try:
            while True:
                assert engine.poll() is None
                try:
                    if httpx.get(sys.argv[1] + "/health", trust_env=False).status_code == 200:
                        break
                except httpx.HTTPError:
                    pass
                time.sleep(0.1)
            body = {"model": "base", "prompt": "a", "max_tokens": 2}
            url = sys.argv[1] + "/v1/completions"
            httpx.post(url, json=body, trust_env=False, timeout=60).raise_for_status()
        finally:
            engine.send_signal(signal.SIGTERM)
            engine.wait(60)
    """
    words = (f"http://127.0.0.1:{port}", *launch.argv)
    found = reached(sys.executable, "-c", textwrap.dedent(code), *words, **launch.env)
    assert found == []
