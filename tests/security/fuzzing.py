"""Schemathesis on a running server: hundreds of requests that fit its description, or just do not.

It runs in an environment of its own: `python -m askdocs.environments security --home
.cache/security`. With FUZZ=N it asks N random questions of each operation, in place of FEW
from a fixed seed: `make fuzz`.
"""

import json
import os
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.parts import require
from tests.security.conftest import ROOT

TOOLS = ROOT / ".cache" / "security" / "environments" / "security" / "bin"
# Seconds for a run.
PATIENCE = 7200 if os.environ.get("FUZZ") else 900
FEW = 4
HOW = ".venv/bin/python -m askdocs.environments security --home .cache/security"
# Not: that what fits a description is taken, as fields depend on each other and on the wiki; and
# that what was made can be got, as nothing is made here.
LEFT_OUT = ("positive_data_acceptance", "use_after_free", "ensure_resource_availability")


def tool(name: str) -> Path:
    """A program of the environment; the test is skipped where there is none."""
    require((TOOLS / name).is_file(), HOW)
    return TOOLS / name


class Asked:
    """What was asked and answered: how often each operation answered with each status."""

    def __init__(self, report: Path) -> None:
        self.statuses: dict[str, Counter[int]] = defaultdict(Counter)
        for label, status in _answers(report):
            self.statuses[label][status] += 1

    @property
    def count(self) -> int:
        return sum(counter.total() for counter in self.statuses.values())

    def with_status(self, *statuses: int) -> set[str]:
        """The operations that answered so at least once."""
        return {name for name, found in self.statuses.items() if found.keys() & set(statuses)}


def fuzz(
    folder: Path,
    description: dict[str, Any],
    url: str,
    headers: dict[str, str],
    *,
    left_out: Sequence[str] = (),
    mode: str = "all",
) -> Asked:
    """Ask everything of the description; an AssertionError tells what was answered wrongly.

    `mode`: `positive` asks what fits, `negative` what does not.
    """
    program = tool("schemathesis")
    folder.mkdir(exist_ok=True)
    file, report = folder / "openapi.json", folder / "report.ndjson"
    file.write_text(json.dumps(description), encoding="utf-8")
    many = os.environ.get("FUZZ", "")
    done = subprocess.run(
        [
            program,
            "--no-color",
            "run",
            file,
            f"--url={url}",
            *(f"--header={name}:{value}" for name, value in headers.items()),
            "--phases=examples,coverage,fuzzing",
            f"--mode={mode}",
            f"--max-examples={many or FEW}",
            *(() if many else ("--seed=1",)),
            f"--exclude-checks={','.join((*LEFT_OUT, *left_out))}",
            "--continue-on-failure",
            "--no-shrink",
            "--request-timeout=120",
            "--suppress-health-check=all",
            "--warnings=off",
            "--generation-database=none",
            "--report=ndjson",
            f"--report-ndjson-path={report}",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    begins = min(
        (at for at in map(done.stdout.find, ("= FAILURES", "= ERRORS")) if at >= 0), default=0
    )
    said = done.stdout[begins:][:12_000]
    assert done.returncode == 0, f"{done.returncode}: {said}\n{done.stderr[-2000:]}"
    return Asked(report)


def _answers(report: Path) -> Iterator[tuple[str, int]]:
    with report.open(encoding="utf-8") as lines:
        for line in lines:
            recorder = json.loads(line).get("ScenarioFinished", {}).get("recorder", {})
            for one in recorder.get("interactions", {}).values():
                if response := one.get("response"):
                    yield recorder["label"], response["status_code"]
