"""YAML as a specification may have it: no key twice, no aliases that grow without end, of a size that a person writes."""

from typing import Any

import yaml

from benchmarks.errors import RunError
from benchmarks.output.printable import one_line

_MOST_BYTES = 1 << 18
"""The largest document: PyYAML reads some 100 KB a second, and the presets have less than 1 KB."""

_MOST_DIGITS = 50
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_MERGE = "tag:yaml.org,2002:merge"
_MOST_VALUES = 10_000
"""How many values a document may have when its aliases are written out."""


def read_yaml(content: bytes | str, where: str) -> Any:
    """Reads a document of plain values: mappings, lists, text, numbers, dates.

    Args:
        content: the document.
        where: what an error calls it.

    Raises:
        RunError: too large, not YAML, more than plain values, a key twice in one mapping, or aliases that are too many or lead
            back to themselves. The line is short, whatever the document holds.
    """
    if len(content) > _MOST_BYTES:
        raise RunError(f"{where} has more than {_MOST_BYTES:,} bytes; expected a short YAML document")
    loader = None
    try:
        loader = yaml.SafeLoader(content)  # which decodes
        node = loader.get_single_node()
        if node is None:
            return None
        _values(node, loader, {})
        return loader.construct_document(node)
    except RecursionError:
        raise RunError(f"{where} is nested too deeply; expected a few levels of keys") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the latter two for a date or a number that is none
        raise RunError(f"{where} is not YAML: {one_line(str(error), 300)}") from error
    finally:
        if loader is not None:
            loader.dispose()


def _check_keys(node: yaml.MappingNode, loader: yaml.SafeLoader) -> None:
    """Refuses a key that is there twice, of which PyYAML would take the last without a word."""
    seen = set()
    for key_node, _ in node.value:
        if isinstance(key_node, yaml.ScalarNode):
            key = "<<" if key_node.tag == _MERGE else loader.construct_object(key_node)
            if key in seen:
                what = f"the key {one_line(repr(key), 60)} is there twice"
                raise yaml.constructor.ConstructorError(None, None, what, key_node.start_mark)
            seen.add(key)


def _values(node: yaml.Node, loader: yaml.SafeLoader, sizes: dict[int, int | None]) -> int:
    """How many values a node holds when its aliases are written out; looks at the keys of each mapping once.

    Raises:
        YAMLError: more than ``_MOST_VALUES``, an alias within what it stands for, a number without end, or a key twice.
    """
    if id(node) in sizes:
        size = sizes[id(node)]
        if size is None:
            raise yaml.composer.ComposerError(None, None, "an alias within what it stands for", node.start_mark)
        return size
    sizes[id(node)] = None
    children: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        children = node.value
    elif isinstance(node, yaml.ScalarNode) and node.tag in _NUMBERS and len(node.value) > _MOST_DIGITS:
        what = f"a number of {len(node.value):,} digits"
        raise yaml.constructor.ConstructorError(None, None, what, node.start_mark)
    elif isinstance(node, yaml.MappingNode):
        _check_keys(node, loader)
        children = [part for pair in node.value for part in pair]
    size = 1 + sum(_values(child, loader, sizes) for child in children)
    if size > _MOST_VALUES:
        what = f"more than {_MOST_VALUES:,} values when its aliases are written out"
        raise yaml.composer.ComposerError(None, None, what, node.start_mark)
    sizes[id(node)] = size
    return size
