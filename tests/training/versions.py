"""A small version of a model, for tests of the stores."""

from datetime import UTC, datetime
from pathlib import Path

from eval.gate.verdict import Decision, Verdict
from training.versions.manifest import Dataset, Facts, Threshold, sha256

FACTS = Facts(
    base_model="HuggingFaceTB/SmolLM2-135M-Instruct",
    dataset=Dataset(
        file="qa_pairs.jsonl", examples={"train": 900, "validation": 100}, sha256="d" * 64
    ),
    recipe={"name": "small", "lora": {"rank": 8, "modules": ["q_proj", "v_proj"]}},
    prompt_fingerprint="0123456789abcdef",
    commit="",
    metrics={"eval_loss": 1.25, "tokens_per_second": 228},
    checks={"changes_logits": {"passed": True}},
)


def trained(folder: Path, content: str = "weights") -> Path:
    """A folder as a training leaves it."""
    (folder / "adapter").mkdir(parents=True)
    (folder / "adapter" / "adapter_model.safetensors").write_text(content)
    (folder / "adapter" / "adapter_config.json").write_text('{"r": 8}')
    (folder / "training.json").write_text('{"steps": 3}')
    return folder


def verdict(of: str, hour: int = 0, decision: Decision = "promote") -> Verdict:
    """What the gate might say."""
    return Verdict(
        version=of,
        prompt_fingerprint="0123456789abcdef",
        decision=decision,
        report_sha256="a" * 64,
        made=datetime(2026, 1, 1, hour, tzinfo=UTC),
    )


def threshold(of: str, manifest: bytes) -> Threshold:
    """What `askdocs eval check` might fit."""
    return Threshold(
        version=of,
        manifest_sha256=sha256(manifest),
        checker="rules",
        value=0.6,
        false_alarms=0.04,
        supported=200,
        answers_sha256="b" * 64,
        made=datetime(2026, 1, 1, tzinfo=UTC),
    )


def everything(folder: Path) -> dict[str, bytes]:
    """The content of every file under a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
