"""What the reference needs of docstrings: an extension of griffe, which reads the packages for mkdocstrings.

Roles such as ``:class:`DisentangleHead` `` become links. A public name without a docstring and a role that names nothing are
warnings, and a strict build refuses those.
"""

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import griffe
from mkdocs.plugins import get_plugin_logger

_LOG = get_plugin_logger("docstrings")
_EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)  # griffe knows the plural alone
_ROLE = re.compile(r":(attr|class|data|func|meth|mod):`([\w.]+)`")


class Docstrings(griffe.Extension):
    """Turns roles into links, and warns of public modules, classes, functions and methods without a docstring."""

    def on_package(self, *, pkg: griffe.Module, loader: griffe.GriffeLoader, **kwargs: Any) -> None:
        """Looks at a whole package as soon as it is read, whether or not a page shows all of it."""
        for member in _members(pkg):
            if member.docstring is not None:
                text = _EXAMPLE.sub("Examples:", member.docstring.value)
                member.docstring.value = _ROLE.sub(partial(_link, member, pkg, loader.modules_collection), text)
            elif _is_public(member):
                _LOG.warning(f"{member.path} has no docstring")


def _members(owner: Any) -> Iterator[Any]:
    yield owner
    for member in owner.members.values():
        if not member.is_alias:  # an import, which is looked at where it is from
            yield from _members(member)


def _is_public(member: Any) -> bool:
    return not member.is_attribute and not any(part.startswith("_") for part in member.path.split("."))


def _link(member: Any, package: Any, modules: Any, role: re.Match[str]) -> str:
    kind, name = role.groups()
    path = _full_path(name, member if kind in ("attr", "meth") else member.module, package)
    try:
        path = modules[path].canonical_path
    except (KeyError, griffe.AliasResolutionError):
        _LOG.warning(f"the docstring of {member.path} mentions {name}, which names nothing")
    # Optional: some of what is mentioned is on no page, and stays without a link.
    return f'<autoref identifier="{path}" optional><code>{name}</code></autoref>'


def _full_path(name: str, scope: Any, package: Any) -> str:
    first, _, rest = name.partition(".")
    try:
        path = scope.resolve(first)
    except griffe.NameResolutionError:
        path = f"{package.path}.{first}" if first in package.members else first
    return f"{path}.{rest}" if rest else path
