"""System requirements of the GPU builds of vLLM and of training, besides the GPU.

Not yet run on a GPU: derived from the locked wheels and Triton's `runtime/build.py`.
"""

import os
import re
import shutil
import sysconfig
from pathlib import Path

from gateway.upstream.engines import nvidia

# The locked wheels are built for CUDA 13, which needs a driver of this branch:
# https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/
DRIVER = 580
_VERSION = Path("/proc/driver/nvidia/version")


def problems() -> list[str]:
    """Reasons why the GPU builds would fail here, each with its fix; empty if none is known."""
    missing = []
    installed = driver()
    if installed and int(installed.split(".")[0]) < DRIVER:
        missing.append(
            f"the NVIDIA driver is {installed}, and CUDA 13 needs {DRIVER} or newer; with an "
            "older one PyTorch finds no GPU: install a newer driver, and restart"
        )
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        missing.append(
            "no C compiler, which Triton needs to compile its kernels: on Debian and"
            " Ubuntu, sudo apt-get install gcc"
        )
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if not header.is_file():
        missing.append(
            f"{header} is missing, which Triton needs to compile: on Debian and Ubuntu,"
            " sudo apt-get install python3-dev"
        )
    return missing


def driver() -> str | None:
    """The NVIDIA driver's version, such as `580.65.06`; None if unknown."""
    try:
        text = _VERSION.read_text(encoding="utf-8", errors="replace")
    except OSError:
        # In WSL the driver belongs to Windows, and /proc does not list it.
        text = nvidia.query("gpu", "driver_version")
    match = re.search(r"\b\d{3}\.\d+(\.\d+)?\b", text)
    return match[0] if match else None
