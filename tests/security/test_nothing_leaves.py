"""No part connects to anything that the docs do not name.

Each runs for real in a network of its own, in which every address is this machine and every look-up
and connection is written down (recorder.py). By default the docs name none at all.
"""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from askdocs import environments
from askdocs.supervision.checks import free_port
from gateway.upstream.engines import vllm
from tests import starting
from tests.askdocs.test_dataset_check import rows, write
from tests.askdocs.test_train_slow import RECIPE, sharpened
from tests.parts import require
from tests.security.fuzzing import tool
from tests.training import small
from tests.training.test_finetune import base, python  # noqa: F401 -- fixtures

pytestmark = pytest.mark.slow

# A library would ask their makers whether they work. In halves: scans of others do not stop here.
KEYS = (
    "xox" + "b-123456789012-123456789012-AbCdEfGhIjKlMnOpQrStUvWx",
    "https://hooks.slack.com/services/" + "T0A1B2C3D/B0A1B2C3D/AbCdEfGhIjKlMnOpQrStUvWx",
    "ghp_" + "q7Rb2Kx9Lm4Tz8Wc5Vn1Yp6Ds3Fg0HjAeUiQ",
    "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc",
)
RECORDER = Path(__file__).with_name("recorder.py")
CACHE = starting.REPO / ".cache"
COMMAND = Path(sys.executable).with_name("askdocs")
Reached = Callable[..., list[str]]


@pytest.fixture
def reached(tmp_path: Path) -> Reached:
    """What a command wanted to reach beside this machine."""
    alone = ("unshare", "--net")
    tried = subprocess.run([*alone, "ip", "link", "set", "lo", "up"], check=False)
    require(tried.returncode == 0, "root, unshare and ip (Debian: util-linux, iproute2)")

    def run(*command: str | Path, **env: str) -> list[str]:
        report = tmp_path / "reached.json"
        # None of it, as the shell of an operator has none.
        ours = {"ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"}
        own = {name: value for name, value in os.environ.items() if name not in ours}
        own = {name: value for name, value in own.items() if not name.lower().endswith("_proxy")}
        own |= {"PYTHONPATH": str(starting.REPO), "HOME": str(tmp_path), **env}
        done = subprocess.run(
            [*alone, sys.executable, RECORDER, report, *command],
            cwd=tmp_path,
            env=own,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        found: list[str] = json.loads(report.read_text())
        return found

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
    import httpx

    began = time.monotonic()
    command, gateway, widget, site = sys.argv[1:]
    ports = ("--gateway-port", gateway, "--widget-port", widget, "--site-port", site)
    up = subprocess.Popen([command, "up", "--docs", "wiki", "--home", "home", *ports])
    try:
        while subprocess.run([command, "status", "--home", "home"], capture_output=True).returncode:
            assert up.poll() is None
            assert time.monotonic() - began < 200
            time.sleep(1)
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
        up.wait(30)
"""


def test_engine_gateway_box_site_and_sync_reach_nothing(reached: Reached, tmp_path: Path) -> None:
    for name in ("wiki", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "coffee.md").write_text("# Coffee\n\nThe machine is on floor 3.\n")
    ports = [str(free_port()) for _ in range(3)]
    assert reached(sys.executable, "-c", textwrap.dedent(USING), COMMAND, *ports) == []


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
    program = tool("detect-secrets")
    (tmp_path / "keys.py").write_text("".join(f'key = "{key}"\n' for key in KEYS))
    code = """
        import sys
        from pathlib import Path
        from scripts.secrets_scan import scan
        assert len(scan(Path(sys.argv[1]), Path(sys.argv[2]), ["keys.py"])) >= 4
    """
    command = (sys.executable, "-c", textwrap.dedent(code), program, tmp_path)
    assert reached(*command) == []


def test_training_reaches_nothing(
    reached: Reached,
    tmp_path: Path,
    base: Path,  # noqa: F811
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "environments").symlink_to(CACHE / "train" / "environments")
    (tmp_path / "mine.toml").write_text(RECIPE.format(base=sharpened(base, tmp_path / "base")))
    dataset = small.dataset(tmp_path, base / "tokenizer.json")
    words = ("--recipe", "mine.toml", "--data", str(dataset), "--max-steps", "2", "--home", "home")
    assert reached(COMMAND, "train", *words) == []


def test_the_libraries_of_evaluation_reach_nothing(reached: Reached, tmp_path: Path) -> None:
    found = environments.find(environments.EVAL, CACHE / "eval")
    require(found is not None, "python -m askdocs.environments eval --home .cache/eval")
    store = """
import lancedb, pinecone
lancedb.connect("store").create_table("rows", [{"vector": [0.5, 0.5], "text": "a"}])
"""
    assert reached(str(found), "-c", store, XDG_DATA_HOME=str(tmp_path)) == []


@pytest.mark.timeout(500)  # vLLM takes minutes to start on a busy machine
def test_vllm_reaches_nothing(
    reached: Reached, vllm_python: Path, small_folder: Path, tmp_path: Path
) -> None:
    port = free_port()
    launch = vllm.launch(
        vllm_python,
        str(small_folder),
        port=port,
        served_name="base",
        context=1024,
        gpu=environments.has_gpu(),
        threads=2,
        kv_gib=1,
        adapters=0,
    )
    code = """
        import contextlib, os, signal, subprocess, sys, time
        import httpx

        engine = subprocess.Popen(sys.argv[2:], start_new_session=True)
        try:
            while True:
                assert engine.poll() is None
                try:
                    if httpx.get(sys.argv[1] + "/health", trust_env=False).status_code == 200:
                        break
                except httpx.HTTPError:
                    time.sleep(0.5)
            body = {"model": "base", "prompt": "a", "max_tokens": 2}
            url = sys.argv[1] + "/v1/completions"
            httpx.post(url, json=body, trust_env=False, timeout=60).raise_for_status()
        finally:
            engine.send_signal(signal.SIGTERM)
            engine.wait(60)
            # A helper of its own that is left would hold the pipes of this test open.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(engine.pid, signal.SIGKILL)
    """
    words = (f"http://127.0.0.1:{port}", *launch.argv)
    found = reached(sys.executable, "-c", textwrap.dedent(code), *words, **launch.env)
    assert found == []
