"""Opens the store that the settings name."""

from pathlib import Path

from core.errors import AskdocsError
from training.versions.local import Folder
from training.versions.store import Store


def open_store(setting: str | None, home: Path) -> Store:
    """The store at a place; creates nothing until a version is added.

    Args:
        setting: a folder or s3://BUCKET/PREFIX; HOME/versions when None.
        home: the state folder.

    Raises:
        AskdocsError: the address is not supported.
    """
    if setting is None:
        return Store(Folder(home / "versions"))
    if setting.startswith("s3://"):
        # boto3 takes a third of a second to import.
        from training.versions.s3 import Bucket

        return Store(Bucket(setting, cache(home).root))
    if "://" in setting:
        raise AskdocsError(f"{setting}: versions are kept in a folder or s3://BUCKET/PREFIX")
    return Store(Folder(Path(setting).expanduser().absolute()))


def cache(home: Path) -> Folder:
    """Local copies of versions from remote stores."""
    return Folder(home / "cache" / "versions")
