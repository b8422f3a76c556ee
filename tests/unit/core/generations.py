"""Lists in force, made of names as text: what the tests of the core judge by."""

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from resolver.core import codes

Core = Callable[[str], ModuleType]
KEY = bytes(range(16))
SELFTEST = b"abcdefghijklmnopqrstuvwxyz"
SCOPES = {
    "name": codes.BLOCK_SELF | codes.BLOCK_BELOW,
    "=": codes.BLOCK_SELF,
    "*": codes.BLOCK_BELOW,
    "!": codes.EXCEPT_SELF | codes.EXCEPT_BELOW,
    "!=": codes.EXCEPT_SELF,
}


def wire(text: str) -> bytes:
    """A name of ordinary labels in wire format."""
    return b"".join(bytes([len(one)]) + one.encode() for one in text.split(".") if one) + b"\0"


def image(core: Core, entries: Mapping[str, int], *, serial: int = 1, **options: Any) -> bytes:
    """A list of names and slot bits."""
    flags = b"".join(bits.to_bytes(2, "little") for bits in entries.values())
    names = b"".join(wire(name) for name in entries)
    stated = {"list_id": "one", "issued": 5, "expires": 6, "generation": 7, "selftest": SELFTEST, **options}
    return bytes(core("entries").write(names, flags, KEY, serial=serial, **stated))


def entries(*lines: str) -> dict[str, int]:
    """Names with the mark of their scope: `name`, `=name`, `*name` (below only), `!name`, `!=name`."""
    found: dict[str, int] = {}
    for line in lines:
        mark = line[: len(line) - len(line.lstrip("!=*"))]
        found[line[len(mark) :]] = SCOPES[mark or "name"]
    return found


def replies(core: Core, answer: int = codes.ANSWER_PAGE, **options: Any) -> Any:
    """The replies of a list; two page addresses unless told."""
    stated = {"statute": True, "v4": (bytes([192, 0, 2, 1]),), "v6": (b"\x20\x01\x0d\xb8" + bytes(11) + b"\1",)}
    return core("reply").Replies(answer, **{**stated, **options})


def generation(core: Core, *lists: Mapping[str, int], **options: Any) -> Any:
    """The lists in force together, in this order; options are those of every member."""
    members = [member(core, one, slot, **options) for slot, one in enumerate(lists)]
    return core("policy").Generation(1, KEY, members)


def member(core: Core, listed: Mapping[str, int], slot: int = 0, **options: Any) -> Any:
    """One list in force."""
    return core("policy").Member(core("image").view(image(core, listed)), replies(core), slot=slot, **options)


def name(core: Core, octets: bytes) -> Any:
    """A name unfolded from its wire format."""
    found = core("name").Name()
    assert core("name").unfold(octets, 0, len(octets), found)
    return found


def query(text: str | bytes, kind: int = 1, *, flags: int = 0x0100, edns: bool = False, klass: int = 1) -> bytes:
    """A query for a name as text or in wire format."""
    octets = wire(text) if isinstance(text, str) else text
    head = b"\x12\x34" + flags.to_bytes(2, "big") + b"\0\1\0\0\0\0\0" + bytes([edns])
    opt = b"\0\0\x29\x04\xd0\0\0\0\0\0\0" if edns else b""
    return head + octets + kind.to_bytes(2, "big") + klass.to_bytes(2, "big") + opt


def question(core: Core, packet: bytes) -> Any:
    """The query as core.question reads it."""
    found = core("question").Question()
    core("question").parse(packet, len(packet), found)
    return found
