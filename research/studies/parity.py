"""Do two engines serve the same model? Token ids and perplexity, llama.cpp against vLLM.

    python -m research.studies.parity --llamacpp http://127.0.0.1:8081 \\
        --vllm http://127.0.0.1:8000 [--json]

A GGUF file converted for vLLM (`training/artefacts/convert.py`) must be the same model: the same
token ids on digits, code, accents and chat messages, and the same perplexity of a fixed English
text within 1 %.
Exit code 0 if so, 1 if not, 2 if the comparison could not be made.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import httpx

from core.errors import AskdocsError

TOLERANCE = 0.01  # tolerance of perplexity: bf16 and 4-bit kernels differ by about 0.1 to 0.5 %

TRICKY_TEXTS = (
    "Room 1234, floor 07, 3.14159 and 1,000,000: call +49 30 901820 before 2026-11-24T08:05:09Z.",
    "def f(x):\n\tif x >= 10:\n        return {'a': [1, 2], 'b': x ** -0.5}  # ok\n\n\n\treturn\n",
    'SELECT * FROM t WHERE a!=b&&c->d[0x1F]; // <html lang="en">&nbsp;</html> `x`=$((1<<3))',
    "Crème brûlée, naïve façade, Ærøskøbing, Łódź, İstanbul ıssız, Straße, ﬁne, e\u0301 is not é.",
    "  two leading, \t tabs\t\t, trailing   \n \n  \r\n\r\n",
    "no-break\u00a0space, wide\u3000space, zero\u200bwidth, next\u0085line, \u2028 \ufeff \x0b",
    "Привет, мир! 你好，世界。こんにちは 안녕하세요 สวัสดี مرحبا नमस्ते",
    "😀👍🏽👩\u200d👩\u200d👧🇩🇪 ½ ² ³ Ⅷ ① ٣ ३ € £ ¥ ™ … – — “quoted” ‘it’s’",
    "I'm, you're, WE'LL, they'd've, can't; snake_case camelCase kebab-case --flag=value C++ .NET",
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    "<|endoftext|> not special: <|im_ start|> <| im_end|> </s> [INST]",
    "https://wiki.example.org/pages/viewpage.action?pageId=123456&x=%C3%A9#Setup-2.1",
    "",
    " ",
    "\n",
    "7",
)

CHAT = (
    {"role": "system", "content": "You answer questions about the wiki."},
    {"role": "user", "content": "How do I reset my password on port 8443?"},
    {"role": "assistant", "content": "Open Settings, then Security."},
    {"role": "user", "content": "Et si ça échoue ?\n\n  1. J'ai essayé\n  2. 12345"},
)

PROSE = """\
The harbour office keeps three books. The first lists every ship that came in during the year, with
the name of her master and the number of crew. The second holds the weather, written down at six in
the morning and again at dusk by whoever has the watch. The third is the one that people ask for,
because it records what was lost: an anchor on the bar, a crate of oranges in the winter of the long
frost, once a piano that a widow had sent for from the capital. Nobody planned the third book. A
clerk began it on an empty page because a captain would not stop shouting, and the next clerk went
on with it because the page was not yet full.

Reading it now, you notice how little the handwriting matters and how much the order does. Each
entry gives the day, then the thing, then the place, and only at the end the person who lost it. If
two entries disagree, the older one was usually right, since the younger was copied on a busy day.
When the town moved the archive to a dry cellar, the books were photographed page by page, and a
teacher had her pupils type the entries into a table. They found that most losses fell within an
hour of low water, which every pilot could have told them, and that almost none fell on a Sunday,
which no pilot had ever noticed. The reason turned out to be simple. On Sundays the harbour was
closed, and a ship that is not moving rarely drops anything over the side.
"""


@dataclass(frozen=True)
class Difference:
    """A text that the engines tokenise differently; `at` is the first differing token position."""

    text: str
    at: int
    llamacpp: list[int]
    vllm: list[int]


@dataclass(frozen=True)
class Parity:
    """The result of `compare`. Perplexities are for PROSE; `ratio` is vLLM's over llama.cpp's."""

    texts: int
    tokens: int
    perplexity_llamacpp: float
    perplexity_vllm: float
    ratio: float
    differences: list[Difference] = field(default_factory=list)

    @property
    def same(self) -> bool:
        return not self.differences and abs(self.ratio - 1) <= TOLERANCE


def compare(llamacpp: str, vllm: str) -> Parity:
    """Compare the engines at these two base URLs (without `/v1`).

    Raises:
        AskdocsError: an engine does not answer, or its response is unsuitable.
    """
    with (
        httpx.Client(base_url=llamacpp, timeout=120) as left,
        httpx.Client(base_url=vllm, timeout=120) as right,
    ):
        model = _get(right, "/v1/models")["data"][0]["id"]
        differences = []
        for text in TRICKY_TEXTS:
            pair = llamacpp_ids(left, text), _vllm_ids(right, model, {"prompt": text})
            differences += _differences(text, *pair)
        chat = _post(left, "/apply-template", {"messages": CHAT})["prompt"]
        pair = llamacpp_ids(left, chat), _vllm_ids(right, model, {"messages": CHAT})
        differences += _differences(chat, *pair)
        ids = llamacpp_ids(left, PROSE)
        differences += _differences(PROSE, ids, _vllm_ids(right, model, {"prompt": PROSE}))
        # Both score llama.cpp's ids, so that a tokenisation difference does not count twice.
        a = perplexity(llamacpp_logprobs(left, ids))
        b = perplexity(vllm_logprobs(right, model, ids))
    return Parity(len(TRICKY_TEXTS) + 2, len(ids), a, b, b / a, differences)


def perplexity(logprobs: Sequence[float]) -> float:
    """exp of the mean negative log-probability (nats)."""
    return math.exp(-sum(logprobs) / len(logprobs))


def llamacpp_logprobs(client: httpx.Client, ids: Sequence[int]) -> list[float]:
    """Log-probability (nats) of every token but the first, given those before it.

    llama.cpp's server has no prompt log-probabilities. It does report the chosen token's, taken
    from the softmax over the whole vocabulary before any sampler (`post_sampling_probs` off), so
    each next token is forced by a logit bias, which is a sampler too and leaves that number alone:
    it equals the entry in a list of all 49,152 to 1e-5, for 0.5 kB instead of 4.7 MB a token. The
    prompt cache makes each step a single-token decode.
    """
    logprobs = []
    for end in range(1, len(ids)):
        body = {
            "prompt": list(ids[:end]),
            "n_predict": 1,
            "n_probs": 1,
            "temperature": 0,
            "post_sampling_probs": False,
            "logit_bias": [[ids[end], 1e6]],
            "cache_prompt": True,
        }
        token = _post(client, "/completion", body)["completion_probabilities"][0]
        if token["id"] != ids[end]:
            raise AskdocsError(
                f"{client.base_url}: forced token {ids[end]} but got {token['id']};"
                " this llama.cpp server does not apply logit_bias as expected"
            )
        logprobs.append(float(token["logprob"]))
    return logprobs


def vllm_logprobs(client: httpx.Client, model: str, ids: Sequence[int]) -> list[float]:
    """The same from vLLM's `prompt_logprobs`: nats, over the full softmax, before any sampler."""
    body = {"model": model, "prompt": list(ids), "max_tokens": 1, "prompt_logprobs": 0}
    entries = _post(client, "/v1/completions", body)["choices"][0]["prompt_logprobs"]
    return [
        float(entry[str(token)]["logprob"])
        for token, entry in zip(ids[1:], entries[1:], strict=True)
    ]


def llamacpp_ids(client: httpx.Client, text: str) -> list[int]:
    """The token ids of `text`, with special tokens parsed, as in a prompt."""
    body = {"content": text, "add_special": True, "parse_special": True}
    ids: list[int] = _post(client, "/tokenize", body)["tokens"]
    return ids


def _vllm_ids(client: httpx.Client, model: str, what: dict[str, Any]) -> list[int]:
    ids: list[int] = _post(client, "/tokenize", {"model": model, **what})["tokens"]
    return ids


def _differences(text: str, left: list[int], right: list[int]) -> list[Difference]:
    if left == right:
        return []
    pairs = enumerate(zip(left, right, strict=False))
    at = next((i for i, (a, b) in pairs if a != b), min(len(left), len(right)))
    return [Difference(text, at, left, right)]


def _get(client: httpx.Client, path: str) -> Any:
    return _call(client, "GET", path, None)


def _post(client: httpx.Client, path: str, body: dict[str, Any]) -> Any:
    return _call(client, "POST", path, body)


def _call(client: httpx.Client, method: str, path: str, body: dict[str, Any] | None) -> Any:
    url = f"{str(client.base_url).rstrip('/')}{path}"
    try:
        response = client.request(method, path, json=body)
    except httpx.HTTPError as error:
        raise AskdocsError(f"{url}: no answer ({error!r}); start that engine first") from None
    if response.status_code != 200:
        raise AskdocsError(
            f"{url}: {response.status_code} {response.text[:200]!r};"
            " check that --llamacpp and --vllm are the right way round"
        )
    return response.json()


def _show(result: Parity) -> str:
    lines = [
        f"{'DIFFERENT TOKENS' if result.differences else 'same tokens'}"
        f" ({result.texts} texts, {len(result.differences)} differ)"
    ]
    for difference in result.differences:
        window = slice(max(0, difference.at - 2), difference.at + 6)
        lines.append(
            f"  {difference.text[:60]!r} from token {difference.at}:"
            f" llama.cpp {difference.llamacpp[window]}, vLLM {difference.vllm[window]}"
        )
    lines.append(
        f"perplexity over {result.tokens} tokens: llama.cpp {result.perplexity_llamacpp:.4f},"
        f" vLLM {result.perplexity_vllm:.4f}, ratio {result.ratio:.4f}"
        f" ({'within' if abs(result.ratio - 1) <= TOLERANCE else 'OUTSIDE'} {TOLERANCE:.0%})"
    )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="research.studies.parity", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--llamacpp", required=True, metavar="URL", help="a llama.cpp server")
    parser.add_argument("--vllm", required=True, metavar="URL", help="a vLLM server")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args(arguments)
    try:
        result = compare(options.llamacpp, options.vllm)
    except AskdocsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps({**asdict(result), "same": result.same}, ensure_ascii=False))
    else:
        print(_show(result))
    return 0 if result.same else 1


if __name__ == "__main__":
    sys.exit(main())
