"""Fixtures of several folders: one engine serves them all."""

from tests.vllm_serving import small_folder, small_gguf, vllm_python, vllm_url

__all__ = ["small_folder", "small_gguf", "vllm_python", "vllm_url"]
