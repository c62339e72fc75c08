"""What serving processes ask of the system."""

import platform
import subprocess
import sys

import pytest

SHOWN = "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE))"


@pytest.mark.parametrize(
    ("soft", "hard", "then"), [(256, 2048, (2048, 2048)), (256, 256, (256, 256))]
)
def test_as_many_files_are_open_as_the_system_allows(
    soft: int, hard: int, then: tuple[int, int]
) -> None:
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))"
    script = f"{limit}\nfrom core.process import prepare\nprepare()\n{SHOWN}"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert told.stdout.strip() == str(then), told.stderr


# What a long text takes and frees again; resident MiB before and after.
FREED = """
import ctypes, os
from core.process import prepare

prepare()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE") >> 20

def take(size, count):
    blocks = [0] * count  # so that the list does not grow behind them
    for place in range(count):
        blocks[place] = libc.malloc(size)
        ctypes.memset(blocks[place], 1, size)
    for block in blocks:
        libc.free(block)

before = resident()
take(24 << 20, 1)
take(512 << 10, 80)
print(resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc's malloc")
def test_memory_that_a_long_text_took_goes_back_to_the_system() -> None:
    told = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True)
    assert int(told.stdout) < 10, told.stderr


@pytest.mark.slow
def test_a_worker_loads_no_command_line_of_a_library() -> None:
    script = "import sys, gateway.__main__, gateway.runtime.app; print('rich' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert told.stdout.strip() == "False", told.stderr
