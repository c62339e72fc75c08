"""The chat template of a version: the base model's, with the date fixed and thinking switched off.

Llama 3.2's template writes today's date into every prompt, so that yesterday's training prompts
differ from today's served ones. Qwen3's and its successors' begin an answer with thinking unless
`enable_thinking` is false, and put an empty think block before an answer without thoughts. Both are
settled by statements in front of the template. They write nothing, and replace what an engine or a
request passes to it. A template that has neither is not changed.
"""

import json
from pathlib import Path
from typing import Any

FILE = "chat_template.jinja"
# The date that Llama 3.1 and 3.2 write where an engine has no clock.
DATE = "26 Jul 2024"
SETTLED = {
    "strftime_now": f"{{%- macro strftime_now(format) -%}}{DATE}{{%- endmacro %}}",
    "enable_thinking": "{%- set enable_thinking = false %}",
}


def settled(template: str) -> str:
    """The template with its date and thinking settled; applied twice, it is the same."""
    missing = (text for name, text in SETTLED.items() if name in template and text not in template)
    return "".join(missing) + template


def of(folder: Path) -> str | None:
    """The settled template of a model's folder; None: it has no template.

    As transformers: the file first, then the tokenizer's configuration.
    """
    if (folder / FILE).is_file():
        return settled((folder / FILE).read_text(encoding="utf-8"))
    try:
        text = (folder / "tokenizer_config.json").read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    template = json.loads(text).get("chat_template")
    if isinstance(template, list):  # several, by name
        template = {named["name"]: named["template"] for named in template}.get("default")
    return settled(template) if template else None


def write(model: Path, folder: Path) -> None:
    """Write a model's settled template into another folder."""
    template = of(model)
    if template is not None:
        (folder / FILE).write_text(template, encoding="utf-8")


def tokenizer(model: Path) -> Any:
    """The tokenizer of a model's folder, with the settled template."""
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(model)
    loaded.chat_template = of(model)
    return loaded
