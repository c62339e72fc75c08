"""The real Prometheus hands an alert to the real Alertmanager, with the files that are shipped."""

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from dotenv import dotenv_values

from tests.monitoring.test_alerts import CONFIG, ROOT, RULES
from tests.monitoring.watching import PATIENCE, listening, started
from tests.parts import require
from tests.waiting import until

FOLDER = ROOT / "deploy" / "alertmanager"
PAGE = ROOT / "docs" / "how-to/monitoring.md"
FILES = sorted(FOLDER.glob("*.yml"))


def examples() -> list[str]:
    """The files of one's own that the page shows."""
    return re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)


@contextmanager
def receiver() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """An address, and what was posted to it."""
    posted: list[dict[str, Any]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            posted.append({"path": self.path, **json.loads(body)})
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/secret", posted
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def alertmanager(folder: Path, name: str, url: str) -> Iterator[str]:
    """Its address. It has the shipped file, but tells at once, and reads `url` beside itself."""
    binary = shutil.which("prometheus-alertmanager")
    require(bool(binary), "apt-get install prometheus-alertmanager")
    secret, file, log = folder / "url", folder / f"{name}.yml", folder / "alertmanager.log"
    secret.write_text(url)
    text = (FOLDER / file.name).read_text(encoding="utf-8")
    assert text.count("/tmp/url") == 1
    config = yaml.safe_load(text.replace("/tmp/url", str(secret)))
    config["route"] |= {"group_wait": "0s", "group_interval": "1s"}
    file.write_text(yaml.safe_dump(config))
    argv = [str(binary), f"--config.file={file}", f"--storage.path={folder / 'alerts'}"]
    argv += ["--cluster.listen-address=", "--web.listen-address=127.0.0.1:0"]
    with listening(argv, log) as address:
        yield address


@contextmanager
def nothing_runs(folder: Path, address: str) -> Iterator[None]:
    """A Prometheus with the shipped rules, which wait for nothing, that finds no gateway."""
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    rules = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    for rule in rules["groups"][0]["rules"]:
        rule["for"] = "0s"
    (folder / "rules.yml").write_text(yaml.safe_dump(rules))
    (named,) = config["alerting"]["alertmanagers"][0]["static_configs"]
    assert named["targets"] == ["alertmanager:9093"]
    named["targets"] = [address]
    config["global"] |= {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config |= {
        "rule_files": [str(folder / "rules.yml")],
        "scrape_configs": [],
    }
    with started(folder, config):
        yield


@pytest.mark.slow
@pytest.mark.parametrize("name", ["slack", "webhook"])
@pytest.mark.parametrize("runbook", ["", "https://docs.example.com/how-to/runbook/"])
def test_people_are_reported_what_is_wrong_and_where_the_runbook_has_it(
    tmp_path: Path, name: str, runbook: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNBOOK_URL", runbook)
    with (
        receiver() as (url, posted),
        alertmanager(tmp_path, name, url) as address,
        nothing_runs(tmp_path, address),
    ):
        until(lambda: bool(posted), PATIENCE)
        (told, *_) = posted
    assert told["path"] == "/secret"
    said = json.dumps(told)
    assert "The gateway is down." in said
    assert f"{runbook or 'docs/how-to/runbook.md'}#askdocsdown" in said
    if name == "slack":
        (attachment,) = told["attachments"]
        assert attachment["title"] == "AskdocsDown (critical): firing"
    else:
        assert (told["status"], told["receiver"]) == ("firing", "webhook")
        assert told["groupLabels"] == {"alertname": "AskdocsDown"}
        assert "runbook" not in told["commonLabels"]


@pytest.mark.slow
def test_amtool_takes_the_files_and_what_the_page_shows(tmp_path: Path) -> None:
    amtool = shutil.which("amtool")
    require(bool(amtool), "apt-get install prometheus-alertmanager")
    shown = [tmp_path / f"{number}.yml" for number, _ in enumerate(examples())]
    for file, text in zip(shown, examples(), strict=True):
        file.write_text(text)
    assert shown
    done = subprocess.run(
        [str(amtool), "check-config", *map(str, FILES), *map(str, shown)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_file_can_be_chosen_in_env_and_has_its_own_name() -> None:
    assert dotenv_values(ROOT / ".env.example")["ALERTS"] == "nobody"
    table = PAGE.read_text(encoding="utf-8")
    for file in FILES:
        assert yaml.safe_load(file.read_text())["route"]["receiver"] == file.stem
        assert f"| `{file.stem}` |" in table


def test_what_is_reported_again_is_told_sooner_when_it_is_critical() -> None:
    for file in FILES:
        route = yaml.safe_load(file.read_text())["route"]
        for inner in route.get("routes", []):
            assert inner == {"matchers": ['severity="critical"'], "repeat_interval": "1h"}
            assert route["repeat_interval"] == "1d"
