"""What one request to Pinecone may have."""

import json

import numpy as np
import pytest

from eval.systems.rag.pinecone import at_once


@pytest.mark.parametrize("size", [8, 384, 1536, 20_000])
def test_the_longest_request_is_within_what_pinecone_takes(size: int) -> None:
    most = at_once(size)
    assert 3 <= most <= 1000
    longest = [float(np.float32(-1.4e-45))] * size
    row = {"id": "10000000", "values": longest, "metadata": {"number": 10_000_000}}
    body = {"vectors": [row] * most, "namespace": "f" * 16}
    assert len(json.dumps(body, separators=(",", ":"))) <= 2_000_000
