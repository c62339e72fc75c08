"""The folder of a training run: its owner, and the files that become a version."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from askdocs.models import choosing
from askdocs.state.claim import claimed, commit, differing
from askdocs.state.home import Home, read_json, write_json
from core.errors import AskdocsError
from training.data import leaks
from training.data.dataset import Dataset
from training.data.prefer import PAIRS
from training.plan.recipe import Recipe
from training.tuning import curve, events
from training.versions.manifest import Dataset as Learnt
from training.versions.manifest import Facts, sha256
from training.versions.name import parse
from training.versions.store import Store
from wiki.sources.sync import Progress

JOB, FACTS, PICTURE, ADAPTER = "job.json", "training.json", "loss.png", "adapter"
PROBES = "probes.json"  # see training/artefacts/


class Run:
    """A training run and its folder."""

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        data: Dataset,
        max_steps: int | None,
        stage: "Stage | None" = None,
    ) -> None:
        """`stage`: given for a second stage, which starts from another run's result."""
        self.folder = folder.absolute()
        self.recipe, self.data, self._stage = recipe, data, stage
        self._max_steps = max_steps
        self._identity = identity(recipe, data, max_steps)
        if stage:
            self._identity["recipe"] = _dumped(recipe)
            self._identity |= stage.hashes

    def second(self, preferences: Path) -> "Run":
        """The second stage of a completed run, in a folder beside its own.

        `preferences`: see `check_pairs`.
        """
        stage = Stage(self.folder, preferences.absolute())
        which = "".join(stage.hashes.values())
        which += self.recipe.preference.model_dump_json()
        digest = sha256(which.encode())[:8]
        folder = self.folder.with_name(f"{self.folder.name}-dpo-{digest}")
        return Run(folder, self.recipe, self.data, self._max_steps, stage)

    @property
    def is_done(self) -> bool:
        return (self.folder / FACTS).is_file()

    @property
    def base(self) -> Path:
        """The folder of the base model used for training."""
        return Path(read_json(self.folder / JOB)["base"])

    @property
    def events(self) -> list[events.Event]:
        return events.read(self.folder)

    def can_start(self, resume: bool) -> None:
        """Raises AskdocsError: the folder has other content, or a run that needs --resume."""
        there = self.folder
        if there.exists() and not there.is_dir():
            raise AskdocsError(f"{there}: is not a folder: name another --out DIR")
        old = read_json(there / JOB)
        if old is None:
            if there.is_dir() and any(path.name != "lock" for path in there.iterdir()):
                raise AskdocsError(f"{there}: is not empty, and holds no run: name another --out")
            return
        if self._stage is None:
            old = {**old, "recipe": _of_first(old.get("recipe") or {})}
        for key, value in self._identity.items():
            if old.get(key) != value:
                raise AskdocsError(
                    f"{there}: holds another run ({differing(old.get(key), value, key)}):"
                    " name another --out DIR"
                )
        if not resume and not self.is_done and self._saved():
            raise AskdocsError(
                f"{there}: holds this run, unfinished: add --resume to continue from its last "
                "checkpoint, or name another --out DIR"
            )

    @contextmanager
    def claimed(self) -> Iterator[int]:
        """Claim the run; yields the lock's descriptor, for the training process to inherit.

        After a kill -9, the lock is held until that process is gone, too. Raises AskdocsError: it
        is claimed already.
        """
        taken = "is in use by another training process: wait for it, or name another --out DIR"
        with claimed(self.folder, taken) as lock:
            yield lock

    def write_job(self, file: Path, base: str, resume: bool) -> None:
        """Write the job for finetune.py; `base` is the base model's folder or hub id."""
        job = {"base": base, "data": str(self.data.folder.absolute()), "out": str(self.folder)}
        if self._stage:
            job |= {"first": str(self._stage.first), "preferences": str(self._stage.preferences)}
        whole = {**self._identity, "recipe": _dumped(self.recipe)}
        write_json(file, {**whole, **job, "resume": resume})

    def choose(self, python: Path, progress: Progress) -> None:
        """Use the checkpoint with the best answers, if the recipe asks for it. Raises
        AskdocsError."""
        losses = dict(events.losses(self.events, "eval"))
        data = self.data.folder
        choosing.choose(python, self.folder, data, self.base, self.recipe, losses, progress)

    @property
    def undecided(self) -> str:
        """Why answers could not choose the checkpoint; empty if they did."""
        choice = read_json(self.folder / choosing.CHOICE) or {}
        return str(choice.get("problem", ""))

    def draw(self) -> None:
        """Draw the losses so far into the folder."""
        events_so_far = self.events
        picture = self.folder / PICTURE
        curve.draw(
            picture, events.losses(events_so_far, "step"), events.losses(events_so_far, "eval")
        )

    @contextmanager
    def version(self) -> Iterator[Path]:
        """A folder with the files of a version, as hard links."""
        with TemporaryDirectory(dir=self.folder) as place:
            folder = Path(place) / "version"
            shutil.copytree(self.folder / ADAPTER, folder / ADAPTER, copy_function=os.link)
            for name in (FACTS, PICTURE, PROBES, choosing.CHOICE):
                if name != choosing.CHOICE or (self.folder / name).is_file():
                    os.link(self.folder / name, folder / name)
            known = [self.data.folder, *([self._stage.preferences] if self._stage else [])]
            # Datasets of older releases have none.
            if files := [
                version_folder / leaks.FILE
                for version_folder in known
                if (version_folder / leaks.FILE).is_file()
            ]:
                rows = [row for file in files for row in leaks.read(file)]
                (folder / leaks.FILE).write_text(leaks.encoded(rows), encoding="utf-8")
            yield folder

    def known(self, store: Store, alias: str) -> str | None:
        """The version made from this run, identified by the SHA-256 of its last file."""
        digest = sha256((self.folder / FACTS).read_bytes())
        for version in store.names():
            facts = store.manifest(version).files.get(FACTS)
            if facts and facts.sha256 == digest and parse(version).alias == alias:
                return version
        return None

    def resumable(self) -> str:
        """What the same command with --resume would do."""
        saved = self._saved()
        if not saved:
            return "no checkpoint yet: run the same command to start again"
        return f"run the same command with --resume to continue from step {saved[-1]}"

    def _saved(self) -> list[int]:
        return [event["step"] for event in self.events if event["event"] == "saved"]

    def facts(self, checks: dict[str, Any]) -> Facts:
        """The facts for the version's manifest."""
        card = self.data.card
        return Facts(
            base_model=self.recipe.base_model,
            dataset=Learnt(
                file=card["file"],
                examples={split: len(lengths) for split, lengths in self.data.lengths.items()},
                sha256=self.data.digest,
            ),
            recipe=self.recipe.model_dump(mode="json"),
            prompt_fingerprint=card["prompt_fingerprint"],
            commit=commit(),
            metrics=self.metrics(),
            checks={**checks, **({"answers": self.undecided} if self.undecided else {})},
        )

    def metrics(self) -> dict[str, float]:
        """Metrics for the manifest."""
        run_events = self.events
        done = next(event for event in reversed(run_events) if event["event"] == "done")
        validation = dict(events.losses(run_events, "eval"))
        train = events.losses(run_events, "step")
        choice = None if self.undecided else read_json(self.folder / choosing.CHOICE)
        best = choice["step"] if choice else done["best_step"]
        numbers = {
            "eval_loss": validation.get(best),
            "answer_score": choice["scores"][str(best)] if choice else None,
            "train_loss": train[-1][1] if train else None,
            "steps": done["step"],
            "best_step": best,
            "tokens_per_second": done.get("tokens_per_second"),
            "preferred": done.get("preferred"),
        }
        return {name: float(value) for name, value in numbers.items() if value is not None}


@dataclass(frozen=True)
class Stage:
    """The starting point of a second stage."""

    first: Path
    """Folder of the first stage."""
    preferences: Path
    """Folder written by `dataset prefer`."""

    @property
    def hashes(self) -> dict[str, str]:
        """Hashes that identify the stage."""
        return {
            "pairs_sha256": sha256((self.preferences / PAIRS).read_bytes()),
            "first_sha256": sha256((self.first / FACTS).read_bytes()),
        }


def check_pairs(preferences: Path) -> None:
    """Raises AskdocsError: the folder was not written by `dataset prefer`, or has no pairs."""
    file = preferences / PAIRS
    if not file.is_file():
        raise AskdocsError(
            f"{file}: is missing: name the folder that `askdocs dataset prefer` wrote"
        )
    if not file.stat().st_size:
        raise AskdocsError(f"{file}: has no pairs: wait for more votes and reviews")


def identity(recipe: Recipe, data: Dataset, max_steps: int | None) -> dict[str, Any]:
    """The part of a job that identifies a run's first stage; the rest are paths, which may
    change."""
    return {
        "recipe": _of_first(_dumped(recipe)),
        "max_steps": max_steps,
        "data_sha256": data.digest,
    }


def _dumped(recipe: Recipe) -> dict[str, Any]:
    return recipe.model_dump(mode="json")


def _of_first(recipe: dict[str, Any]) -> dict[str, Any]:
    """The part of a recipe that affects the first stage."""
    return {key: value for key, value in recipe.items() if key != "preference"}


def default_folder(
    home: Home, name: str, recipe: Recipe, data: Dataset, max_steps: int | None
) -> Path:
    """The default folder, the same for the same run, so that --resume finds it."""
    which = json.dumps(identity(recipe, data, max_steps), sort_keys=True)
    return home.root / "training" / f"{name}-{sha256(which.encode())[:8]}"
