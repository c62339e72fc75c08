"""Parses nvidia-smi's report on this machine's GPUs."""

import shutil
import subprocess

PATIENCE_S = 20


def smi(*arguments: str) -> str:
    """The output of `nvidia-smi` with these arguments; empty if it is missing or fails."""
    if shutil.which("nvidia-smi") is None:
        return ""
    try:
        done = subprocess.run(
            ["nvidia-smi", *arguments], capture_output=True, text=True, timeout=PATIENCE_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def query(kind: str, *fields: str) -> str:
    """The table of a kind (`gpu`, `compute-apps`): one line per row, fields separated by commas."""
    return smi(f"--query-{kind}={','.join(fields)}", "--format=csv,noheader,nounits")
