"""Loads untrusted YAML from a wiki: settings and front matter.

Aliases take a few bytes and may stand for billions of values, all of which are visited by code that
walks the result.
"""

from typing import Any

import yaml

# Maximum values of a document, counted with aliases. Settings of large sites have thousands.
MOST = 200_000


def load(text: str | bytes, loader: Any) -> Any:
    """The value of a YAML document.

    Args:
        text: the document.
        loader: a PyYAML loader that creates no arbitrary objects.

    Raises:
        yaml.YAMLError: it is not YAML.
        ValueError: it has too many values, or is nested too deeply.
    """
    reader = loader(text)
    try:
        node = reader.get_single_node()
        if node is None:
            return None
        if _size(node, {}) > MOST:
            raise ValueError(f"has more than {MOST:,} values, with its aliases")
        return reader.construct_document(node)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    finally:
        reader.dispose()


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """The number of values in the node; more than MOST if it contains itself."""
    if id(node) not in known:
        known[id(node)] = MOST + 1
        inner: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            inner = node.value
        elif isinstance(node, yaml.MappingNode):
            inner = [child for pair in node.value for child in pair]
        known[id(node)] = 1 + sum(_size(child, known) for child in inner)
    return known[id(node)]
