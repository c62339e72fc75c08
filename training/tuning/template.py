"""The chat template of a version: the base model's, with the date fixed and thinking switched off.

Llama 3.2's template writes today's date into every prompt, and 3.1's does in llama.cpp, so that
yesterday's training prompts differ from today's served ones. Qwen3's and its successors' begin an
answer with thinking unless `enable_thinking` is false, and put an empty think block before an
answer without thoughts. Both are settled by statements in front of the template, which write
nothing and replace what an engine or a request passes to it. llama.cpp passes `date_string` in a
way that no statement replaces, so that name is changed. A template that has none of these is not
changed.
"""

import json
import re
from pathlib import Path
from typing import Any

FILE = "chat_template.jinja"
# The date that Llama 3.1 and 3.2 write where an engine has no clock.
DATE = "26 Jul 2024"
SETTLED = {
    "strftime_now": f"{{%- macro strftime_now(format) -%}}{DATE}{{%- endmacro %}}",
    "enable_thinking": "{%- set enable_thinking = false %}",
}

_DATE = re.compile(r"\bdate_string\b")


def settled(template: str) -> str:
    """The template with its date and thinking settled; applied twice, it is the same."""
    template = _DATE.sub("settled_date", template)
    missing = (text for name, text in SETTLED.items() if name in template and text not in template)
    return "".join(missing) + template


def own(folder: Path) -> str | None:
    """The template of a model's folder as it is; None: it has none.

    As transformers: the file first, then the tokenizer's configuration.
    """
    if (folder / FILE).is_file():
        return (folder / FILE).read_text(encoding="utf-8")
    try:
        text = (folder / "tokenizer_config.json").read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    template = json.loads(text).get("chat_template")
    if isinstance(template, list):  # several, by name
        template = {named["name"]: named["template"] for named in template}.get("default")
    return template or None


def of(folder: Path) -> str | None:
    """The settled template of a model's folder; None: it has no template."""
    template = own(folder)
    return None if template is None else settled(template)


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
