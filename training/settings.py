"""The `[training]` section of the settings."""

from typing import ClassVar

from core.settings import Field, Section


class TrainingSettings(Section):
    """Where versions of models are kept."""

    section: ClassVar[str] = "training"

    store: str | None = Field(
        None,
        description="Folder or s3://BUCKET/PREFIX of the versions; the state folder's `versions`"
        " when not set.",
    )
