"""What serving processes ask of the system."""

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
    script = f"{limit}\nfrom gateway.core.process import prepare\nprepare()\n{SHOWN}"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert told.stdout.strip() == str(then), told.stderr


@pytest.mark.slow
def test_a_worker_loads_no_command_line_of_a_library() -> None:
    script = "import sys, gateway.__main__, gateway.runtime.app; print('rich' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert told.stdout.strip() == "False", told.stderr
