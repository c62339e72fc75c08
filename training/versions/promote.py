"""Decides whether a version may answer for an alias: gate verdict and prompt fingerprint."""

from collections.abc import Sequence
from typing import Literal

from core.errors import AskdocsError
from eval.gate.verdict import Verdict
from training.versions.manifest import Manifest


def objections(
    manifest: Manifest,
    verdict: Verdict | None,
    fingerprint: str,
    action: Literal["promote", "canary"] = "promote",
    readers: str = "",
) -> list[str]:
    """Objections to a version, a sentence each.

    Args:
        manifest: the version's manifest.
        verdict: the gate's latest verdict on it.
        fingerprint: fingerprint of the gateway's prompt.
        action: answer all users, or a share of them.
        readers: the decision of a canary's readers; "": none yet.
    """
    name, reasons = manifest.name, []
    if manifest.prompt_fingerprint != fingerprint:
        reasons.append(
            f"{name} was trained with the prompt {manifest.prompt_fingerprint}, and the gateway"
            f" uses {fingerprint}: train it again"
        )
    if verdict is None:
        return [
            *reasons,
            f"the release gate has no verdict on {name}: run `askdocs eval gate`, or name "
            "--verdict FILE",
        ]
    if verdict.version != name:
        return [*reasons, f"the verdict is about {verdict.version}, not about {name}"]
    if verdict.prompt_fingerprint != fingerprint:
        reasons.append(
            f"the verdict measured {name} with the prompt {verdict.prompt_fingerprint}, and the"
            f" gateway uses {fingerprint}: measure it again"
        )
    why = "; ".join(verdict.reasons) or "it gives no reason"
    if not verdict.allows("canary"):
        reasons.append(f"the release gate rejected {name}: {why}")
    elif not verdict.allows(action) and readers != "promote":
        reasons.append(
            f"the release gate allows {name} only as a canary, until its readers have shown that it"
            f" is as good (`askdocs models compare` tells when): {why}"
        )
    return reasons


def check(reasons: Sequence[str], force: bool, why: str | None) -> None:
    """Raises AskdocsError: there are objections, or they are overruled without a reason."""
    if force and not (why and why.strip()):
        raise AskdocsError("--force needs a reason, which is recorded: add --why TEXT")
    if why and not force:
        raise AskdocsError("--why is the reason for --force: add it, or leave both out")
    if reasons and not force:
        raise AskdocsError("\n".join([*reasons, "or overrule this with --force --why TEXT"]))
