"""`askdocs models promote|rollback`: choose the version that serves an alias."""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from askdocs.commands.options import HomeOption, JsonOption
from askdocs.evaluation import canary as canaries
from askdocs.models.aliases import effective, problems_of, shares
from askdocs.models.registry import opened_store
from askdocs.models.serving import serve
from askdocs.state import home
from askdocs.state.database import opened
from core import audit
from core.errors import AskdocsError
from core.settings import load
from eval.gate import verdict
from gateway.answering.grounding import prompt
from gateway.routing import aliases, promotions
from gateway.routing.aliases import DEFAULT, Table, stored
from gateway.routing.promotions import main_target
from gateway.settings import GatewaySettings
from training.versions import promote as gate

if TYPE_CHECKING:
    import sqlalchemy as sa

    from eval.gate.verdict import Verdict
    from gateway.routing.promotions import Action, Targets
    from gateway.settings import Alias

VersionArgument = Annotated[
    str, typer.Argument(metavar="VERSION", help="A version, such as docs@v7.")
]
AliasOption = Annotated[
    str | None, typer.Option(help="The name that clients use (default: the version's own).")
]
ForceOption = Annotated[
    bool,
    typer.Option("--force", help="Override the release gate; requires --why, and is recorded."),
]
WhyOption = Annotated[str | None, typer.Option(help="The reason for --force.")]
VerdictOption = Annotated[
    Path | None, typer.Option(help="A verdict of the release gate, stored with the version.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Check and report, and change nothing.")
]


@dataclass(frozen=True)
class Change:
    """An alias that is about to be changed."""

    database: "sa.Engine"
    name: str
    seen: "Alias | None"
    """From the database."""
    alias: "Alias"
    """The effective value: from the database, the settings file, or the default."""
    home_dir: Path | None

    def measured(self, version: str) -> "Change":
        """The same with the thresholds that are stored with a version; the settings' go before."""
        own = {
            threshold.checker: threshold.value
            for threshold in opened_store(self.home_dir).thresholds(version)
        }
        configured = load(GatewaySettings).aliases.get(self.name)
        given = dict(configured.thresholds) if configured else {}
        given[version] = {**own, **given.get(version, {})}
        merged = {**self.alias.thresholds, **given}
        thresholds = {name: by_checker for name, by_checker in merged.items() if by_checker}
        return replace(self, alias=self.alias.model_copy(update={"thresholds": thresholds}))

    def write(
        self,
        action: "Action",
        targets: "Targets",
        verdict: "Verdict | None" = None,
        why: str | None = None,
    ) -> None:
        """Let `targets` answer, and stop versions that are no longer used.

        Raises AskdocsError: an engine serves none of them, or somebody else was faster.
        """
        try:
            self._write(action, targets, verdict, why)
        finally:
            self.tidy(*targets)

    def _write(
        self, action: "Action", targets: "Targets", verdict: "Verdict | None", why: str | None
    ) -> None:

        settings = effective(self.home_dir)
        new = self.alias.model_copy(update={"targets": targets})
        table = {**DEFAULT, **settings.aliases, **stored(self.database), self.name: new}
        if problems := asyncio.run(problems_of(settings, self.database, Table(table))):
            raise AskdocsError("\n".join(f"alias {p.alias}: {p.message}" for p in problems))
        promotions.write(
            self.database,
            action,
            self.name,
            self.seen,
            self.alias,
            targets,
            audit.user(),
            verdict=verdict.model_dump(mode="json") if verdict else None,
            why=why,
        )

    def tidy(self, *tried: str) -> None:
        """Stop what once answered for the alias, or was `tried`, and is needed no more.

        Somebody else's version, on its way to another alias, is not ours to stop.
        """
        entries = promotions.history(self.database, self.name)
        ours = {name for entry in entries for name in (*entry.before, *entry.after)} | {*tried}
        promotions.release(self.database, ours, load(GatewaySettings).aliases)


def promote(
    version: VersionArgument,
    weight: Annotated[
        float | None,
        typer.Option(min=0, max=99, help="A canary: percentage of users; 0 ends it."),
    ] = None,
    alias: AliasOption = None,
    force: ForceOption = False,
    why: WhyOption = None,
    verdict: VerdictOption = None,
    dry_run: DryRunOption = False,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Promote a version to its alias, once it is served and has passed its probes.

    The previous version stays ready, so that `rollback` takes a second. If a step fails, nothing
    changes. With --weight it serves a share of the users, each of whom keeps one version.
    """
    began = time.monotonic()
    action: Literal["promote", "canary"] = "promote" if weight is None else "canary"
    given = None
    with _changing(alias or version.partition("@")[0], home_dir) as change:
        if weight != 0:
            given = _allowed(change, version, action, verdict, force, why, keep=not dry_run)
        was = change.alias.targets
        targets = {version: 1.0} if weight is None else _canary(change, version, weight)
        if not dry_run:
            if weight != 0:
                _serve(change, version, quiet=as_json)
                change = change.measured(version)
            change.write(action, targets, given, why)
    _tell(action, change.name, was, targets, began, dry_run, as_json)


def _canary(change: Change, version: str, weight: float) -> dict[str, float]:
    """The targets with a canary. Raises AskdocsError: it makes no sense."""
    was = change.alias.targets
    main = main_target(was, but=(version,))
    if main == version:
        raise AskdocsError(
            f"{version} already gets all requests to {change.name}: a canary needs another version"
        )
    if others := set(was) - {main, version}:
        raise AskdocsError(
            f"{', '.join(sorted(others))} already has a share of {change.name}: end it with"
            " --weight 0 first"
        )
    if not weight and version not in was:
        raise AskdocsError(f"{version} has no share of {change.name}: nothing to end")
    return {main: 100 - weight, version: weight} if weight else {main: 1.0}


def rollback(
    alias: Annotated[str, typer.Option(help="The name that clients use.")] = "docs",
    dry_run: DryRunOption = False,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore an alias to the version before the last promotion; also ends a canary."""
    began = time.monotonic()
    with _changing(alias, home_dir) as change:
        was = change.alias.targets
        targets = promotions.previous(promotions.history(change.database, alias), was)
        if targets is None:
            raise AskdocsError(
                f"no promotion for {alias!r} to roll back:"
                f" `askdocs aliases set {alias} --target MODEL` points it elsewhere"
            )
        if not dry_run:
            for name in targets:
                _serve(change, name, quiet=as_json)
            change.write("rollback", targets)
    _tell("rollback", alias, was, targets, began, dry_run, as_json)


def _allowed(
    change: Change,
    version: str,
    action: Literal["promote", "canary"],
    file: Path | None,
    force: bool,
    why: str | None,
    keep: bool,
) -> "Verdict | None":
    """The verdict on a version that may answer. Raises AskdocsError: it may not."""
    store = opened_store(change.home_dir)
    manifest = store.manifest(version)
    if store.retired(version):
        raise AskdocsError(f"{version} is retired: promote another version")
    given = verdict.read(file) if file else next(reversed(store.verdicts(version)), None)
    fingerprint = prompt.fingerprint(change.alias.instructions or "")
    on_trial = canaries.running(change.database, change.name, change.alias.targets)
    readers = on_trial.standing.decision if on_trial and on_trial.version == version else ""
    reasons = gate.objections(manifest, given, fingerprint, action, readers)
    gate.check(reasons, force, why)
    if file and given and keep:
        store.add_verdict(version, given)
    return given


@contextmanager
def _changing(alias: str, home_dir: Path | None) -> Iterator[Change]:
    """Raises AskdocsError: there is no such alias."""
    configured = {**aliases.DEFAULT, **load(GatewaySettings).aliases}
    with opened(home_dir) as database:
        stored = aliases.stored(database)
        seen = stored.get(alias)
        known = seen or configured.get(alias)
        if known is None:
            raise AskdocsError(
                f"no alias {alias!r}: create it with `askdocs aliases set {alias} --target"
                " base --grounding`, or name another one with --alias"
            )
        yield Change(database, alias, seen, known, home_dir)


def _serve(change: Change, version: str, quiet: bool) -> None:
    """Where no askdocs runs, the engines must serve it by themselves, which `Change.write` sees."""
    if not home.find(change.home_dir).is_locked():
        return
    try:
        serve(change.database, version, change.home_dir, None if quiet else print)
    except BaseException:
        change.tidy(version)
        raise


def _tell(
    action: str,
    alias: str,
    was: "Targets",
    targets: "Targets",
    began: float,
    dry_run: bool,
    as_json: bool,
) -> None:

    seconds = round(time.monotonic() - began, 2)
    if as_json:
        facts: dict[str, Any] = {"action": action, "alias": alias, "from": was, "to": targets}
        print(json.dumps({**facts, "seconds": seconds, "changed": not dry_run}))
        return
    if dry_run:
        print(f"{alias}: is {shares(was)}, would be {shares(targets)} (dry run: nothing changed)")
        return
    print(f"{alias}: was {shares(was)}, is {shares(targets)}, after {seconds:.1f} s")
    if action != "rollback":
        print(f"roll back with: askdocs models rollback --alias {alias}")
