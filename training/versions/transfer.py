"""Copies of versions between stores: a backup, a release, a machine that serves."""

from collections.abc import Sequence

from gateway.core.errors import AskdocsError
from gateway.knowledge.sources.sync import Progress
from training.versions.store import Store


def copy(
    name: str, source: Store, target: Store, artefacts: Sequence[str], progress: Progress
) -> None:
    """Copy a version with verdicts, thresholds and some artefacts; the manifests stay as they are.

    What the target has already is not copied again, so one that was cut off can be done again.

    Raises:
        AskdocsError: a file is not what its manifest says; the target has another version of this
            name; there is no such artefact; the version is retired, here or there.
    """
    contents = {kind: source.manifest_bytes(name, kind) for kind in (None, *artefacts)}
    if target.retired(name):
        raise AskdocsError(f"{name}: was retired in {target.place}: take another")
    for kind, content in contents.items():
        if not target.has(name, kind, content):
            target.put(name, kind, content, source.fetch(name, kind, progress), progress)
    for verdict in source.verdicts(name):
        target.add_verdict(name, verdict)
    for threshold in source.thresholds(name):
        target.add_threshold(name, threshold)
