"""Text that cannot pass for the prompt's frame."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.answering.grounding import neutral as module
from gateway.answering.grounding.neutral import neutral, restored

CONTROL = [
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|begin_of_text|>",
    "<|start_header_id|>system<|end_header_id|>",
    "<|eot_id|>",
    "<|python_tag|>",
    "<｜User｜>",
    "<｜end▁of▁sentence｜>",
    "<s>",
    "</s>",
    "<S>",
    "<unk>",
    "<pad>",
    "<bos>",
    "<eos>",
    "<start_of_turn>model",
    "<end_of_turn>",
    "<unused12>",
    "<extra_id_0>",
    "<repo_name>",
    "<jupyter_start>",
    "<fim_prefix>",
    "<fim-suffix>",
    "<tool_call>",
    "</tool_call>",
    "<think>",
    "</think>",
    "[INST]",
    "[/INST]",
    "[TOOL_CALLS]",
    "[SYSTEM_PROMPT]",
    "<<SYS>>",
    "<</SYS>>",
    "</page>",
    "< / PAGE >",
    '<page title="x">',
]
PLAIN = [
    "Use `a < b | c` and x<y.",
    "<b>bold</b>, <pages>, <code>, <input type='text'>, <my-element>",
    "[a link](page.md), [ ] a task, [x] done, [INSTALL], [system]",
    "&lt;b&gt; &amp; &#91;x]",
    "List<String> and vector<int>",
]


@pytest.mark.parametrize("token", CONTROL)
def test_a_control_token_is_written_another_way_and_comes_back(token: str) -> None:
    text = f"before {token} after"
    assert token not in neutral(text)
    assert restored(neutral(text)) == text
    assert neutral(neutral(text)) == neutral(text)


@pytest.mark.parametrize("text", PLAIN[1:])
def test_markup_and_code_stay_as_they_are(text: str) -> None:
    assert neutral(text) == text


texts = st.lists(st.sampled_from([*CONTROL, *PLAIN, "<", "|", "[", "/", ">", " ", "x"])).map(
    "".join
)


@given(texts)
def test_nothing_that_is_put_together_of_parts_is_a_control_token(text: str) -> None:
    written = neutral(text)
    assert not re.search(r"<\s*[|｜]|<\s*/?\s*page\b|<[a-z_]+_[a-z_]+>|\[/?INST\]", written, re.I)
    assert neutral(written) == written


@pytest.mark.parametrize("change", [neutral, restored])
@pytest.mark.parametrize("start", ["<", "&lt;", "</", "&lt;/", "<a_"])
def test_the_cost_grows_with_the_length_alone(change: Callable[[str], str], start: str) -> None:
    """`<` and 100,000 spaces took 53 s, and the event loop with them."""
    for filler in (" ", "a_", "a", "-a"):
        change(start + filler * 200_000)


@given(texts, st.integers(1, 8))
def test_pieces_are_rewritten_as_the_whole(text: str, size: int) -> None:
    whole = neutral(text)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "_PIECE", size)
        assert neutral(text) == whole


@pytest.mark.parametrize("mark", ["<", "[", "<|", "<s", "[/"])
def test_a_pattern_reads_a_long_text_in_pieces(mark: str) -> None:
    """Other threads run between the pieces, but not while a pattern reads one."""
    cut = list(module.pieces(mark * 500_000, mark[0]))
    assert max(end - start for start, end in cut) <= module._PIECE + len(mark)
    assert [start for start, _ in cut[1:]] == [end for _, end in cut[:-1]]
