"""The `[training]` section of the settings."""

from typing import ClassVar

from gateway.settings import Field, Section


class TrainingSettings(Section):
    """Where versions of models are kept."""

    section: ClassVar[str] = "training"

    store: str | None = Field(
        None, description="Folder of the versions; `versions` in the state folder when not set."
    )
