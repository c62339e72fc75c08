"""The card of a version on the hub (README.md), and the NOTICE that a licence may require."""

import json
import re
from collections.abc import Iterator

from huggingface_hub import ModelCardData

from eval.gate.verdict import Verdict
from training.versions.manifest import Manifest

# For these the licence requires "Built with Llama", a notice, and a name that begins with Llama.
_LLAMA = re.compile(r"llama(3\.[1-9]|4)")


def is_llama(license: str) -> bool:
    """Does the licence require the name, the notice and "Built with Llama"?"""
    return _LLAMA.fullmatch(license) is not None


def notice(license: str) -> str | None:
    """The content of NOTICE, if the licence requires it."""
    if (llama := _LLAMA.fullmatch(license)) is None:
        return None
    title = f"Llama {llama[1]}"
    return (
        f"{title} is licensed under the {title} Community License, Copyright © Meta Platforms,"
        " Inc. All Rights Reserved.\n"
    )


def card(manifest: Manifest, repo: str, base: str, license: str, verdict: Verdict | None) -> str:
    """README.md, with the metadata that the hub reads.

    Args:
        repo: the target repository, as org/name.
        base: hub id of the base model.
        license: the base model's licence in the hub's notation.
    """
    data = ModelCardData(
        base_model=base,
        license=license,
        library_name="peft",
        pipeline_tag="text-generation",
        tags=["askdocs", "lora", "question-answering"],
    )
    lines = _lines(manifest, repo, base, license, verdict)
    return f"---\n{data.to_yaml()}\n---\n" + "\n".join(lines) + "\n"


def _lines(
    manifest: Manifest, repo: str, base: str, license: str, verdict: Verdict | None
) -> Iterator[str]:
    dataset = manifest.dataset
    yield f"# {repo.split('/')[1]}"
    yield (
        f"\nA LoRA adapter for [{base}](https://huggingface.co/{base}) that answers questions about"
        f" a wiki from its pages, and refuses what they do not answer. It is the version"
        f" `{manifest.name}` of askdocs,"
        f" trained on {manifest.created:%Y-%m-%d}."
    )
    yield "\n## Use it\n"
    yield f"```sh\naskdocs models pull {manifest.name} hf://{repo}\n```"
    yield (
        "\nIts prompts are those of askdocs with the fingerprint"
        f" `{manifest.prompt_fingerprint}`; it was not trained with other prompts."
    )
    yield "\n## Data\n"
    counts = ", ".join(f"{count:,} examples for {use}" for use, count in dataset.examples.items())
    yield f"`{dataset.file}`: {counts}. The dataset's card has the SHA-256 `{dataset.sha256}`."
    yield f"\n## Recipe\n\n```json\n{json.dumps(manifest.recipe, indent=2)}\n```"
    yield "\n## Results\n"
    if manifest.metrics:
        yield "| measure | value |\n|---|---|"
        for name, value in manifest.metrics.items():
            yield f"| {name.replace('_', ' ')} | {value:.6g} |"
    if verdict is not None:
        reasons = f": {'; '.join(verdict.reasons)}" if verdict.reasons else ""
        yield (
            f"\nThe gate's verdict was *{verdict.decision}* on"
            f" {verdict.made:%Y-%m-%d}{reasons}. Its report has the SHA-256"
            f" `{verdict.report_sha256}`."
        )
    elif not manifest.metrics:
        yield "No metrics were measured."
    if manifest.checks:
        yield f"\n## Checks\n\n```json\n{json.dumps(manifest.checks, indent=2)}\n```"
    yield "\n## Licence\n"
    if (llama := _LLAMA.fullmatch(license)) is not None:
        title = f"Llama {llama[1]}"
        address = f"https://www.llama.com/llama{llama[1].replace('.', '_')}/license/"
        yield (
            f"**Built with Llama.** The base model is under the [{title} Community"
            f" License]({address}), which also applies to this adapter; see NOTICE."
        )
    else:
        yield f"The base model is under the licence `{license}`, and so is this adapter."
    commit = f" by the commit `{manifest.commit}`" if manifest.commit else ""
    yield (
        f"\n## Where it comes from\n\nTrained{commit}. `askdocs/manifest.json` has the SHA-256 of"
        " every file."
    )
