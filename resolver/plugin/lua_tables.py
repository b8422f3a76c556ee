"""Makes the tables of plugin/lua/blocklist.lua from core and from the formats of this room: no number is typed twice.

    python -m resolver.plugin.lua_tables        writes them into the file

Rules:
- Between the two marks stands what `tables` returns, and nothing else; a test compares them.
- A 64-bit number is written as `0x…ULL`, octets as a string with decimal escapes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from resolver.core import codes, image, name, policy, reply
from resolver.plugin import blocks, folder, followed, unbound

PATH: Final = Path(__file__).parent / "lua" / "blocklist.lua"
BEGIN: Final = "-- BEGIN TABLES: made by `python -m resolver.plugin.lua_tables`.\n"
END: Final = "-- END TABLES\n"
WORDS_A_QUERY: Final = 8192
"""Words of an image that one query verifies while a policy comes: less than a millisecond."""
MORE_A_SECOND: Final = 16
"""How many times as many more, for each second that the policy has waited: with one query a second a list of a million
names is in force after six."""

_CODES: Final = (
    *("ASK", "PASS", "BLOCK", "MAX_LISTS"),
    *("BLOCK_SELF", "BLOCK_BELOW", "EXCEPT_SELF", "EXCEPT_BELOW", "SET_ASIDE", "SELFTEST", "EXCEPTION_BELOW"),
    *("SCOPE_BITS", "CLASS_IN", "ANSWER_NXDOMAIN", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"),
    *("TYPE_A", "TYPE_CNAME", "TYPE_AAAA", "TYPE_DNAME", "TYPE_OPT", "TYPE_DS", "TYPE_RRSIG", "TYPE_DNSKEY"),
    *("TYPE_SVCB", "TYPE_HTTPS", "TYPE_IXFR", "TYPE_MAILA"),
    *("EDE_NONE", "EDE_OTHER", "EDE_NOT_READY", "EDE_NOT_AUTHORITATIVE", "EDE_INVALID_DATA"),
)
_SIP_TEXT: Final = b"somepseudorandomlygeneratedbytes"
"""The constants of SipHash, as its authors give them; 128 bits of result change the second."""
_SIZES: Final = {"I": 4, "H": 2, "Q": 8, "1": 16}

Value = int | float | bytes | str


def _places() -> dict[str, Value]:
    """Return where each field of the datagram starts."""
    at, found = 0, dict[str, Value]()
    kinds = blocks.FORMAT.lstrip("<").replace("16s", "1")
    for field, kind in zip(blocks.FIELDS, kinds, strict=True):
        found[field] = at
        at += _SIZES[kind]
    return found


def values() -> dict[str, Mapping[str, Value]]:
    """Return the tables, each by its name."""
    parts = {part: len(folder.WORDS) + 2 * number for number, part in enumerate(folder.PARTS)}
    return {
        "codes": {one: getattr(codes, one) for one in _CODES},
        "sip": {
            f"init_{number}": _u64(int.from_bytes(_SIP_TEXT[8 * number : 8 * number + 8], "big") ^ 0xEE * (number == 1))
            for number in range(4)
        },
        "image": {
            "magic": _u64(image.MAGIC),
            "header_words": image.HEADER_WORDS,
            "slots": 1,
            "depths": 7,
            "selftest_zone": image.SELFTEST_ZONE,
            "selftest_labels": 1 + len(image.SELFTEST_NAME.split(".")),
        },
        "name": {"max_octets": name.MAX_OCTETS, "max_pointers": name.MAX_POINTERS, "header": 12},
        "judge": {"max_octets": policy.MAX_JUDGED_OCTETS, "digest_octets": 24},
        "reply": {
            "least": 512,
            "most_udp": reply.MAX_UDP_OCTETS,
            "opt_octets": 11,
            "ede_option": 15,
            # RFC 7830 3 and RFC 8467 4.1.
            "padding_option": 12,
            "padded_octets": 468,
        },
        "format": {
            "policy": folder.POLICY,
            "blocks": folder.BLOCKS,
            "image": folder.IMAGE,
            "magic": folder.MAGIC,
            "header": folder.HEADER,
            "record": folder.RECORD,
            "seal_octets": folder.SEAL_OCTETS,
            "seal_text": folder.SEAL_TEXT,
            "most_members": folder.MOST_MEMBERS,
            "most_octets": folder.MOST_OCTETS,
            "key_octets": unbound.KEY_OCTETS,
            "key_closed": unbound.KEY_CLOSED,
            "look_s": followed.LOOK_S,
            "words_a_query": WORDS_A_QUERY,
            "more_a_second": MORE_A_SECOND,
        },
        "words": {word: number for number, word in enumerate(folder.WORDS)},
        "parts": parts,
        "flags": {"RELEASE": folder.RELEASE, "APPROVED": folder.APPROVED, "ANSWERS": folder.ANSWERS},
        "block": {
            **_places(),
            "number": blocks.MAGIC,
            "octets": blocks.OCTETS,
            "most": blocks.MOST,
            "prefix_octets": blocks.PREFIX_OCTETS,
            "mapped": bytes(10) + b"\xff\xff",
        },
    }


class _U64(str):
    """A 64-bit number as Lua writes it."""


def _u64(number: int) -> _U64:
    return _U64(f"0x{number:016X}ULL")


def _written(value: Value) -> str:
    if isinstance(value, _U64) or not isinstance(value, bytes | str):
        return str(value)
    octets = value.encode() if isinstance(value, str) else value
    return '"' + "".join(chr(one) if 32 < one < 127 and one not in b'"\\' else f"\\{one:03d}" for one in octets) + '"'


def tables() -> str:
    """Return the text between the marks."""
    lines = ["local T = {"]
    for table, fields in values().items():
        lines.append(f"  {table} = {{")
        lines += [f"    {field} = {_written(value)}," for field, value in fields.items()]
        lines.append("  },")
    return "\n".join([*lines, "}", ""])


def replaced(text: str) -> str:
    """Return the file's text with the tables between the marks; ValueError if a mark is missing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the file has no marks for its tables")
    return before + begin + tables() + end + after


if __name__ == "__main__":
    PATH.write_text(replaced(PATH.read_text()))
