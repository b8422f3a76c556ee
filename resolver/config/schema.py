"""Makes the JSON Schema (2020-12) of the configuration, for editors, from the structs that parse it.

Rules:
- A key that the structs have is in it, with their bounds; what they refuse as unknown it refuses too. Rules between
  keys are not in it: `check-config` has all.
- What a key means, and its default, are the words of deploy/resolver.toml.
"""

import tomllib
from typing import Any, Final

import msgspec.inspect as inspect

from resolver.config import explained
from resolver.config.config import Config
from resolver.config.values import Address, Endpoint, Pin, Prefix, Seconds, Size, Upstream, ZoneName

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

TEXTS: Final[dict[object, dict[str, Any]]] = {
    Seconds: {"pattern": "^([0-9]{1,9}[smhdy]|0)$", "examples": ["10s", "15m", "48h", "14d", "5y", "0"]},
    Size: {"pattern": "^[0-9]{1,9}(KiB|MiB|GiB)$", "examples": ["512KiB", "64MiB", "1GiB"]},
    Endpoint: {
        "pattern": r"^(\[[0-9A-Fa-f:.]+(%[^\[\]]+)?\]|[0-9.]+):[0-9]{1,5}$",
        "examples": ["127.0.0.1:5300", "[::1]:5300"],
    },
    Upstream: {
        "pattern": r"^((tls|https)://[A-Za-z0-9.-]+@)?(\[[0-9A-Fa-f:.]+(%[^\[\]]+)?\]|[0-9.]+)(:[0-9]{1,5})?(/.*)?$",
        "examples": ["192.0.2.53:53", "tls://dns.example@192.0.2.53", "https://dns.example@[2001:db8::53]/dns-query"],
    },
    Pin: {"pattern": "^[A-Za-z0-9+/]{43}=$"},
    ZoneName: {"pattern": r"^([A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?$", "examples": ["corp.example"]},
    Address: {"pattern": "^([0-9.]+|[0-9A-Fa-f:.]+)$", "examples": ["192.0.2.1", "2001:db8::1"]},
    Prefix: {"pattern": "^([0-9.]+|[0-9A-Fa-f:.]+)(/[0-9]{1,3})?$", "examples": ["192.0.2.0/24", "2001:db8::/32"]},
}
"""The texts that config/values.py parses."""

_BOUNDS: Final = {"ge": "minimum", "le": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"}


def schema() -> dict[str, Any]:
    """Return the schema of the whole file."""
    said = {one.name: one for one in explained.tables(explained.text())}
    return {
        "$schema": DIALECT,
        "title": "Configuration of blocklist-resolver",
        **of(inspect.type_info(Config), "", said),
    }


def _of_struct(kind: inspect.StructType, at: str, said: dict[str, explained.Table]) -> dict[str, Any]:
    options = {one.key: one for one in said[at].options} if at in said else {}
    keys = {}
    for field in kind.fields:
        name = field.encode_name
        below = f"{at}.{name}" if at else name
        one = of(field.type, below, said)
        if name in options:
            one = {"description": options[name].said, **one}
            if not options[name].required:
                one["default"] = tomllib.loads(f"value = {options[name].value}")["value"]
        elif below in said and said[below].said:
            one = {"description": said[below].said, **one}
        keys[name] = one
    required = [field.encode_name for field in kind.fields if field.required]
    found: dict[str, Any] = {"type": "object", "properties": keys, "additionalProperties": False}
    return {**found, "required": required} if required else found


def of(kind: inspect.Type, at: str, said: dict[str, explained.Table]) -> dict[str, Any]:
    """Return the schema of one type, at the key `at`; TypeError if it is of a kind that no struct here has."""
    match kind:
        case inspect.Metadata():
            return of(kind.type, at, said)
        case inspect.StructType():
            return _of_struct(kind, at, said)
        case inspect.UnionType():
            # None stands only for a key that is left out: TOML has no null.
            (one,) = (each for each in kind.types if not isinstance(each, inspect.NoneType))
            return of(one, at, said)
        case inspect.CustomType():
            return {"type": "string", **TEXTS[kind.cls]}
        case inspect.LiteralType():
            return {"enum": list(kind.values)}
        case inspect.BoolType():
            return {"type": "boolean"}
        case inspect.IntType() | inspect.FloatType():
            name = "integer" if isinstance(kind, inspect.IntType) else "number"
            return {"type": name, **_set(kind, _BOUNDS)}
        case inspect.StrType():
            found = _set(kind, {"min_length": "minLength", "max_length": "maxLength", "pattern": "pattern"})
            if "pattern" in found:
                found["pattern"] = found["pattern"].replace(r"\Z", "$")
            return {"type": "string", **found}
        case inspect.VarTupleType():
            bounds = _set(kind, {"min_length": "minItems", "max_length": "maxItems"})
            return {"type": "array", "items": of(kind.item_type, at, said), **bounds}
        case inspect.TupleType():
            items = [of(one, at, said) for one in kind.item_types]
            return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
        case inspect.DictType():
            keys = {"propertyNames": of(kind.key_type, at, said)}
            return {"type": "object", **keys, "additionalProperties": of(kind.value_type, at, said)}
    raise TypeError(f"no schema is known for {type(kind).__name__}")


def _set(kind: inspect.Type, names: dict[str, str]) -> dict[str, Any]:
    """Return the bounds that are set, by their names in a schema."""
    return {there: getattr(kind, here) for here, there in names.items() if getattr(kind, here) is not None}
