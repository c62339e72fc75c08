"""What a vLLM says of its work."""

import re
from dataclasses import dataclass

import httpx


@dataclass(frozen=True)
class Vllm:
    root: str

    @property
    def url(self) -> str:
        return f"{self.root}/v1"

    def running(self) -> float:
        """Requests that it works on."""
        return self.number("vllm:num_requests_running")

    def written(self) -> float:
        """Tokens that it has written so far."""
        return self.number("vllm:generation_tokens_total")

    def read(self) -> float:
        """Tokens of prompts that it has been asked so far."""
        return self.number("vllm:prompt_tokens_total")

    def number(self, name: str) -> float:
        metrics = httpx.get(f"{self.root}/metrics", timeout=30).text
        assert name in metrics
        return number(metrics, name)


def number(metrics: str, name: str) -> float:
    """The sum of all values of that name."""
    return sum(map(float, re.findall(rf"^{name}\{{.*\}} (\S+)$", metrics, re.M)))
