"""What the GPU builds need, found without a GPU: fake tools on PATH stand for the machine's."""

import shutil
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path

import pytest

from askdocs import environments
from askdocs.environments import gpu
from core.errors import AskdocsError

NO_PROC = pytest.mark.skipif(
    Path("/proc/driver/nvidia/version").exists(), reason="this machine has a driver"
)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH, with a compiler; Python.h is there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    include = tmp_path / "include"
    include.mkdir()
    (include / "Python.h").touch()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"include": str(include)})
    tool(folder, "gcc", "")
    return folder


def tool(folder: Path, name: str, output: str) -> None:
    shell = shutil.which("sh", path="/bin:/usr/bin")
    (folder / name).write_text(f"#!{shell}\necho '{output}'\n")
    (folder / name).chmod(0o755)


@NO_PROC
@pytest.mark.parametrize("version", ["580.65.06", "580.82", "610.11.01"])
def test_a_driver_for_cuda_13_is_enough(tools: Path, version: str) -> None:
    tool(tools, "nvidia-smi", version)
    assert gpu.driver() == version
    assert gpu.problems() == []


@NO_PROC
@pytest.mark.parametrize("version", ["535.183.01", "570.195.03"])
def test_an_older_driver_is_named_with_the_one_that_is_needed(tools: Path, version: str) -> None:
    tool(tools, "nvidia-smi", version)
    (problem,) = gpu.problems()
    assert f"is {version}" in problem
    assert "needs 580 or newer" in problem


@pytest.mark.parametrize(
    "text",
    [
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27 07:04:24 UTC 2026\n"
        "GCC version:  gcc version 12.2.0 (Debian 12.2.0-14+deb12u1)\n",
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\n",
    ],
)
def test_the_kernel_module_names_its_version(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (tmp_path / "version").write_text(text)
    monkeypatch.setattr(gpu, "_VERSION", tmp_path / "version")
    assert gpu.driver() == "580.65.06"


def test_triton_needs_a_compiler_and_pythons_headers(tools: Path, tmp_path: Path) -> None:
    (tools / "gcc").unlink()
    (tmp_path / "include" / "Python.h").unlink()
    compiler, header = gpu.problems()
    assert "apt-get install gcc" in compiler
    assert "apt-get install python3-dev" in header


def test_a_gpu_build_is_refused_before_anything_is_downloaded(tools: Path, tmp_path: Path) -> None:
    (tools / "gcc").unlink()
    said: list[str] = []
    here = replace(environments.VLLM_GPU, pythons=(sys.version_info[:2],))
    with pytest.raises(AskdocsError, match=r"--engine vllm \(gpu build\).*no C compiler"):
        environments.ensure(here, tmp_path / "home", said.append)
    assert said == []
    assert not (tmp_path / "home").exists()
