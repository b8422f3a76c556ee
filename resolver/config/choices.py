"""Says which values a key of the configuration accepts, for keys that accept a few words."""

import re
from typing import Any, Final

import msgspec.inspect as inspect

_STEP: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)|\[(?:\.\.\.|\d+)\]")


def of_key(root: type, path: str) -> tuple[str, ...]:
    """Return the words that the key at `path` accepts, as in `list[0].source.kind`; none if it accepts others."""
    kinds: list[inspect.Type] = [inspect.type_info(root)]
    for step in _STEP.finditer(path):
        kinds = [below for kind in kinds for below in _below(kind, step[1])]
    found = [word for kind in kinds for word in _words(kind)]
    return tuple(str(word) for word in dict.fromkeys(found))


def _below(kind: inspect.Type, name: str | None) -> list[inspect.Type]:
    if isinstance(kind, inspect.UnionType):
        return [below for one in kind.types for below in _below(one, name)]
    if isinstance(kind, inspect.Metadata):
        return _below(kind.type, name)
    if name is None:
        return [kind.item_type] if isinstance(kind, (inspect.ListType, inspect.VarTupleType)) else []
    if isinstance(kind, inspect.StructType):
        return [field.type for field in kind.fields if field.encode_name == name]
    return []


def _words(kind: inspect.Type) -> tuple[Any, ...]:
    if isinstance(kind, inspect.UnionType):
        return tuple(word for one in kind.types for word in _words(one))
    if isinstance(kind, inspect.Metadata):
        return _words(kind.type)
    return kind.values if isinstance(kind, inspect.LiteralType) else ()
