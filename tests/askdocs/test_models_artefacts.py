import subprocess
import sys
from pathlib import Path

from askdocs.models_artefacts import scratch

WORK = """
import sys, time
from pathlib import Path
from askdocs.models_artefacts import scratch
with scratch(Path(sys.argv[1])) as folder:
    (folder / "weights").write_text("large")
    print(folder, flush=True)
    time.sleep(60)
"""


def test_what_a_killed_process_left_is_removed_and_what_works_on_is_not(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", WORK, str(tmp_path)]
    works, killed = (subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(2))
    assert works.stdout
    assert killed.stdout
    other, left = Path(works.stdout.readline().strip()), Path(killed.stdout.readline().strip())
    killed.kill()
    killed.wait()
    try:
        with scratch(tmp_path) as folder:
            assert not left.exists()
            assert (other / "weights").exists()
            assert folder.parent == tmp_path
        assert not folder.exists()
    finally:
        works.kill()
        works.wait()
        works.stdout.close()
        killed.stdout.close()
