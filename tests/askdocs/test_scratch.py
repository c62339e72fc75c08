import subprocess
import sys
from pathlib import Path

from askdocs.state.scratch import scratch

WORK = """
import sys, time
from pathlib import Path
from askdocs.state.scratch import scratch
with scratch(Path(sys.argv[1]), ".work-") as folder:
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
        with scratch(tmp_path, ".work-") as folder:
            assert not left.exists()
            assert (other / "weights").exists()
            assert folder.parent.parent == tmp_path
        assert [one.name for one in tmp_path.iterdir()] == [other.parent.name]
    finally:
        works.kill()
        works.wait()
        works.stdout.close()
        killed.stdout.close()
