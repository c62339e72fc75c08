"""Copies versions between stores: for a backup, a release, a serving machine."""

from collections.abc import Sequence

from core.errors import AskdocsError
from training.versions.store import Store
from wiki.sources.sync import Progress


def copy(
    name: str, source: Store, target: Store, artefacts: Sequence[str], progress: Progress
) -> None:
    """Copy a version with verdicts, thresholds and some artefacts; manifests are unchanged.

    Skips what the target already has, so an interrupted copy can be repeated.

    Raises:
        AskdocsError: a file does not match its manifest; the target has another version of this
            name; an artefact does not exist; the version is retired in either store.
    """
    contents = {kind: source.manifest_bytes(name, kind) for kind in (None, *artefacts)}
    if target.retired(name):
        raise AskdocsError(f"{name}: was retired in {target.place}: use another")
    for kind, content in contents.items():
        if not target.has(name, kind, content):
            target.put(name, kind, content, source.fetch(name, kind, progress), progress)
    for verdict in source.verdicts(name):
        target.add_verdict(name, verdict)
    for threshold in source.thresholds(name):
        target.add_threshold(name, threshold)
