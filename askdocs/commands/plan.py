"""`askdocs plan`: the GPUs that a model and a team need, and their cost."""

import json
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from askdocs.capacity import memory, models, speed
from askdocs.capacity.assumptions import read
from askdocs.capacity.gpus import find
from askdocs.capacity.plan import DoesNotFit, command, demand, make, notes, slow, tight
from askdocs.capacity.setup import GIB, Setup
from askdocs.commands.options import JsonOption
from core.errors import AskdocsError
from eval.report import cost

if TYPE_CHECKING:
    from askdocs.capacity.assumptions import Assumptions
    from askdocs.capacity.plan import ServingPlan

QUANTIZATIONS = ("fp8", "int4")


def plan(
    model: Annotated[
        str,
        typer.Option(help="Name on the hub, or a folder."),
    ],
    gpu: Annotated[str, typer.Option(help="a10g, l4, l40s, a100-40g, a100-80g, h100, h200 ...")],
    context: Annotated[int, typer.Option(min=1, help="Tokens of the longest request.")] = 8192,
    qps: Annotated[
        float | None,
        typer.Option(min=0, max=1e9, help="Questions per second at peak."),
    ] = None,
    users: Annotated[
        float | None, typer.Option(min=0, max=1e9, help="Number of users (instead of --qps).")
    ] = None,
    quantization: Annotated[
        str | None,
        typer.Option(help="Quantisation of the weights: fp8, int4 (default: unchanged)."),
    ] = None,
    gpus: Annotated[
        int | None,
        typer.Option(min=1, help="GPUs per replica (default: the fewest that hold the model)."),
    ] = None,
    adapters: Annotated[int, typer.Option(min=0, help="Adapters loaded at once.")] = 0,
    config: Annotated[
        Path | None, typer.Option(help="The model's config.json, if the hub is unreachable.")
    ] = None,
    assume: Annotated[
        list[str] | None, typer.Option(help="Override an assumption, such as prompt_tokens=6000.")
    ] = None,
    gpu_hour: Annotated[
        float | None,
        typer.Option(
            min=0, max=1e6, help="US dollars per GPU hour (default: eval/report/prices.toml)."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Plan GPUs: type and number, speed, cost."""
    assumed = read(assume or ())
    if quantization not in (None, *QUANTIZATIONS):
        raise AskdocsError(f"--quantization {quantization}: use one of {', '.join(QUANTIZATIONS)}")
    if qps is not None and users is not None:
        raise AskdocsError(f"--qps {qps:g} and --users {users:g}: give only one")

    sized = models.find(model, config, assumed.weight_bits)
    setup = Setup(
        shape=sized.shape,
        gpu=find(gpu),
        gpus=1,
        quantization=quantization,
        context=context,
        adapters=adapters,
        assumed=assumed,
    )
    rate = demand(users, setup) if users is not None else qps
    try:
        made = make(setup, gpus, rate)
    except DoesNotFit as error:
        if not as_json:
            raise
        print(json.dumps({"model": model, "gpu": gpu, "fits": False, "why": str(error)}, indent=2))
        raise typer.Exit(2) from None
    facts = _facts(made, model, sized.where, gpu, _price(gpu, gpu_hour))
    if as_json:
        print(json.dumps(facts, indent=2, default=str))
    else:
        _show(facts, assumed)


def _price(gpu: str, gpu_hour: float | None) -> cost.Price | None:
    """Of an hour; None: the file has none."""
    if gpu_hour is not None:
        return cost.Price(usd=gpu_hour, read=datetime.now(UTC).date(), source="--gpu-hour")
    return cost.read(cost.FILE).of_gpu(gpu)


def _facts(
    made: "ServingPlan",
    model: str,
    where: str,
    gpu: str,
    price: cost.Price | None,
) -> dict[str, Any]:

    setup = made.setup
    shape, assumed, load = setup.shape, setup.assumed, made.load
    new = max(1, round(assumed.prompt_tokens * (1 - assumed.cached)))
    typical = assumed.prompt_tokens + assumed.answer_tokens
    argv, env = command(setup, model)
    return {
        "model": model,
        "sizes_from": where,
        "parameters": shape.parameters,
        "weight_bits": round(setup.bits, 3),
        "gpu": gpu,
        "gpu_facts": setup.gpu.model_dump(mode="json"),
        "context": setup.context,
        "fits": True,
        "tight": tight(setup),
        "fits_on_one": made.fits_on_one,
        "why": made.why,
        "gpus": made.gpus,
        "tensor_parallel": setup.gpus,
        "replicas": made.replicas,
        "memory_gib": {
            **{name: round(size / GIB, 2) for name, size in made.memory._asdict().items()},
            "cache": round(made.cache / GIB, 2),
            "available": round(memory.available(setup) / GIB, 2),
        },
        "kv_tokens": made.kv_tokens,
        "requests_at_context": memory.at_once(setup, made.cache, setup.context),
        "requests_typical": memory.at_once(setup, made.cache, typical),
        "one_reader": {
            "first_token_s": round(speed.reading(setup, new), 2),
            "first_token_at_context_s": round(speed.reading(setup, setup.context), 1),
            "tokens_per_second": round(1 / speed.step(setup, 1, typical), 1),
        },
        "at_best": {
            "answers_at_once": load.answers,
            "questions_per_second": round(load.questions, 3),
            "tokens_per_second": round(load.tokens(assumed.answer_tokens), 1),
            "tokens_per_second_each": round(load.stream, 1),
        },
        "qps": round(made.qps, 4) if made.qps is not None else None,
        "month_usd": round(made.month(price.usd), 2) if price else None,
        "price": price.model_dump(mode="json") if price else None,
        "notes": notes(setup) + slow(made),
        "command": argv,
        "environment": env,
        "assumptions": assumed.model_dump()
        | {"max_num_batched_tokens": setup.step, "max_num_seqs": setup.seqs},
    }


def _show(facts: dict[str, Any], assumed: "Assumptions") -> None:
    size, reader, best = facts["memory_gib"], facts["one_reader"], facts["at_best"]
    taken, used = facts["assumptions"], size["available"] - size["cache"]
    typical = f"{taken['prompt_tokens']:,} + {taken['answer_tokens']:,} tokens"
    shared = f", {facts['tensor_parallel']} share a copy" if facts["tensor_parallel"] > 1 else ""
    copies = f", {facts['replicas']} copies" if facts["replicas"] > 1 else ""
    rate = f" for {facts['qps']:g} questions/s" if facts["qps"] is not None else ""
    price = facts["price"]
    cost = (
        f"${facts['month_usd']:,.0f} a month (${price['usd']} an hour, {price['read']},"
        f" {price['source']})"
        if price
        else f"no price for {facts['gpu']}: add --gpu-hour USD"
    )
    parts = ", ".join(
        f"{name} {size[name]:.1f}"
        for name in ("weights", "adapters", "activations", "graphs", "other")
        if size[name]
    )
    if facts["why"]:
        print(f"One {facts['gpu']}: {facts['why']}\n")
    rows = {
        "model": f"{facts['model']}, {facts['parameters'] / 1e9:.2f} billion parameters,"
        f" {facts['weight_bits']:g} bits ({facts['sizes_from']})",
        "GPUs": f"{facts['gpus']} {facts['gpu']}{shared}{copies}{rate}",
        "memory": f"{used:.1f} of {size['available']:.1f} GiB a GPU before the cache: {parts}",
        "cache": f"{facts['kv_tokens']:,} tokens in {size['cache']:.1f} GiB",
        "at once": f"{facts['requests_at_context']} of {facts['context']:,} tokens,"
        f" or {facts['requests_typical']} typical ones ({typical})",
        "one reader": f"first token after {reader['first_token_s']:.1f} s"
        f" ({facts['context']:,} tokens: {reader['first_token_at_context_s']:.0f} s),"
        f" then {reader['tokens_per_second']:.0f} tokens/s",
        "many": f"{best['answers_at_once']} answers at once, {best['questions_per_second']:.2f}"
        f" questions/s, {best['tokens_per_second']:.0f} tokens/s, a copy at its best",
        "cost": cost,
    }
    for name, text in rows.items():
        print(f"{name:11} {text}")
    for note in facts["notes"]:
        print(f"{'note':11} {note}")
    env = " ".join(f"{name}={value}" for name, value in facts["environment"].items())
    print(f"\nStarted with:\n  env {env} {shlex.join(facts['command'])}")
    print("\nAssumptions (--assume NAME=VALUE):")
    for name, field in type(assumed).model_fields.items():
        value = "not set" if taken[name] is None else f"{taken[name]:g}"
        print(f"  {name:27} {value:>7}  {field.description}")
