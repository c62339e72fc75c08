"""Checks which options of a recipe the libraries refuse, using their own classes without weights.

GPU recipes can be checked on machines without one: Unsloth, which adapts itself to the importing
machine, is parsed instead of imported.
"""

import ast
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from accelerate.commands.launch import launch_command_parser
from peft import LoraConfig
from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig
from trl import DPOConfig, SFTConfig

from training.tuning import options

# Unsloth's GPU functions: file, class, function.
LOAD = ("unsloth/models/loader.py", "FastLanguageModel", "from_pretrained")
ADAPTER = ("unsloth/models/llama.py", "FastLlamaModel", "get_peft_model")
# Arguments that Unsloth passes to PEFT and TRL under other names.
UNSLOTHS_OWN = ("use_gradient_checkpointing", "random_state")


def refusals(job: dict[str, Any]) -> Iterator[str]:
    """What the libraries refuse, one line each; nothing if training would start."""
    recipe, on_cpu = job["recipe"], not torch.cuda.is_available()
    adapter = options.adapter(recipe)
    lora = {name: value for name, value in adapter.items() if name not in UNSLOTHS_OWN}
    configurations = [
        (SFTConfig, options.training(recipe, Path(job["out"]), on_cpu)),
        (DPOConfig, options.preference(recipe, Path(job["out"]), on_cpu)),
        (LoraConfig, {**lora, "task_type": "CAUSAL_LM"}),
    ]
    if recipe["load_in_4bit"]:
        configurations.append((BitsAndBytesConfig, options.quantisation(recipe)))
    reasons: set[str] = set()
    for kind, values in configurations:
        try:
            kind(**values)
        except (TypeError, ValueError, ImportError) as error:
            reason = str(error).splitlines()[0]
            if reason not in reasons:  # both stages share the options of the first
                yield f"{kind.__name__} of this recipe is refused: {reason}"
            reasons.add(reason)
    for place, values in ((LOAD, options.load(recipe, job["base"])), (ADAPTER, adapter)):
        if unknown := sorted(values.keys() - arguments(*place)):
            yield f"Unsloth's {place[1]}.{place[2]} has no argument {', '.join(unknown)}"
    launch = options.launch(recipe["processes"])
    try:
        launch_command_parser().parse_args([*launch, "finetune.py"])
    except SystemExit:  # accelerate has printed why to standard error
        yield f"accelerate launch refuses {' '.join(launch)}"
    if Path(job["base"]).is_dir():
        # Meta tensors have sizes but no content.
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(job["base"]))
        yield from options.missing(recipe, (name for name, _ in model.named_modules()))


def arguments(file: str, kind: str, function: str) -> set[str]:
    """Argument names of a method of an installed package, without importing it."""
    package, _, inner = file.partition("/")
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).parent / inner
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef) and node.name == kind:
            for method in node.body:
                # Other classes have methods of this name that only pass arguments on.
                if isinstance(method, ast.FunctionDef) and method.name == function:
                    return _names(method.args.args) | _names(method.args.kwonlyargs)
    return set()


def _names(arguments: Iterable[ast.arg]) -> set[str]:
    return {argument.arg for argument in arguments}
