"""Runs the two programs of the dataset environment: `measure` and `expect`."""

import json
import os
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Literal

from gateway.core.errors import AskdocsError
from gateway.knowledge.sources.sync import Progress


def run(
    python: Path, program: Literal["measure", "expect"], job: dict[str, Any], progress: Progress
) -> list[dict[str, Any]]:
    """Run a program; return its results.

    Args:
        python: Python of the dataset environment.
        program: name of a module beside this one, which documents its input and output.
        job: its input.
        progress: receives its progress.

    Raises:
        AskdocsError: the program failed.
    """
    script = Path(__file__).with_name(f"{program}.py")
    with tempfile.TemporaryDirectory(prefix="askdocs-") as name:
        folder = Path(name)
        given, output, log = folder / "job.json", folder / "found.jsonl", folder / "log"
        given.write_text(json.dumps(job), encoding="utf-8")
        with (
            log.open("w") as errors,
            # -I: no module in this folder or on the caller's PYTHONPATH can shadow another.
            subprocess.Popen(
                [str(python), "-I", str(script), str(given), str(output)],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,  # so that its child processes can be ended with it
                env={**os.environ, "GX_ANALYTICS_ENABLED": "false", "HOME": name},
            ) as process,
        ):
            try:
                assert process.stdout is not None
                for line in process.stdout:
                    if line.startswith('{"step":'):
                        event = json.loads(line)
                        progress(event["step"], event["done"], event["total"])
                code = process.wait()
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
        if code:
            lines = log.read_text(errors="replace").strip().splitlines()
            why = lines[-1] if lines else f"exit code {code}"
            raise AskdocsError(
                f"{python} {script.name}: failed ({why}): remove {python.parent.parent} and run"
                " the command again, which creates it again"
            )
        return [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
