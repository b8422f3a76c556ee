"""What is listed and what is asked: drawn from a seed, reserved names only.

`listed` names are below test, example and invalid, never below ALLOWED; what is below ALLOWED has an address upstream.
"""

import ipaddress
import itertools
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

SEED = 20
ALLOWED, ALLOWED_V4 = "allowed.test", "198.51.100.1"
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_ZONES = [f"{two}{number}" for two in ("aa", "bb", "cc", "dd", "ee", "ff") for number in range(41)]
_TLDS = ("test", "example", "invalid")
CACHED_NAMES = 20_000
# Of mixed questions: shares of those for listed names and for names that are kept; the others are new.
MIXED_BLOCKED, MIXED_CACHED = 0.0001, 0.85
# dnsmasq reads lines of less than 1025 octets.
_LINE_OCTETS = 1000

ZONE = f"""$TTL 3600
@ SOA ns nobody 1 3600 600 86400 300
@ NS ns
ns A 127.0.0.1
*.{ALLOWED}. A {ALLOWED_V4}
"""


def listed(count: int) -> list[str]:
    """`count` different names of three labels; more of them begin with the fewer."""
    draw = random.Random(SEED)
    names: dict[str, None] = {}
    while len(names) < count:
        own = "".join(draw.choices(_LETTERS, k=draw.randint(6, 18)))
        names[f"{own}.{draw.choice(_ZONES)}.{draw.choice(_TLDS)}"] = None
    return list(names)


def write_blocked(path: Path, names: Sequence[str], count: int) -> None:
    """Questions for listed names, half of them for a name below."""
    draw = random.Random(SEED + 1)
    chosen = draw.choices(names, k=count)
    _write(path, (("www." if number % 2 else "") + name for number, name in enumerate(chosen)))


def write_cached(path: Path, count: int) -> None:
    """Questions for names that do not change, so that all but the first are answered from what is kept."""
    draw = random.Random(SEED + 2)
    numbers = draw.choices(range(CACHED_NAMES), k=count)
    _write(path, (f"host{number}.zone{number % 500}.{ALLOWED}" for number in numbers))


def write_every_cached(path: Path) -> None:
    """Each of the names of `write_cached` once."""
    _write(path, (f"host{number}.zone{number % 500}.{ALLOWED}" for number in range(CACHED_NAMES)))


def write_miss(path: Path, count: int, round_number: int) -> None:
    """Questions that nobody has asked before."""
    draw = random.Random(SEED + 3 + round_number)
    _write(path, (f"m{n}x{round_number}x{draw.randrange(10**9)}.{ALLOWED}" for n in range(count)))


def write_mixed(path: Path, listed_names: Sequence[str], count: int, round_number: int) -> None:
    """Questions as a resolver gets them: few listed, most kept, the others new."""
    draw = random.Random(SEED + 1003 + round_number)

    def one(number: int) -> str:
        share = draw.random()
        if share < MIXED_BLOCKED:
            return draw.choice(listed_names)
        if share < MIXED_BLOCKED + MIXED_CACHED:
            kept = draw.randrange(CACHED_NAMES)
            return f"host{kept}.zone{kept % 500}.{ALLOWED}"
        return f"x{number}m{round_number}x{draw.randrange(10**9)}.{ALLOWED}"

    _write(path, map(one, range(count)))


def read(path: Path, at_most: int | None = None) -> Iterator[str]:
    """The names of a file of questions, from its beginning."""
    with path.open() as file:
        for line in itertools.islice(file, at_most):
            yield line.split()[0]


def address_of(name: str, page: str) -> str:
    """The address that the answer for a name must carry."""
    return ALLOWED_V4 if name.endswith(f".{ALLOWED}") else page


def query(name: str, *, edns: bool) -> bytes:
    """A query for A with id 0 and RD."""
    options = b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00" if edns else b""
    return b"\0\0\1\0\0\1\0\0\0\0\0" + bytes([edns]) + wire(name) + b"\0\1\0\1" + options


def write_wire(path: Path, questions: Path, page: str, header: bytes, *, edns: bool, checked: bool) -> None:
    """The same questions as ask.c reads them, each behind `header`; unchecked, any answer will do."""
    with path.open("wb") as file:
        for name in read(questions):
            octets = header + query(name, edns=edns)
            address = ipaddress.IPv4Address(address_of(name, page) if checked else 0)
            file.write(len(octets).to_bytes(2, "big") + address.packed + octets)


def write_rpz(path: Path, listed_names: Sequence[str], page: str) -> None:
    """A response policy zone: the page's address for each name and for what is below it."""
    with path.open("w") as file:
        file.write("$TTL 60\n@ SOA localhost. nobody.invalid. 1 3600 600 86400 60\n@ NS localhost.\n")
        file.writelines(f"{name} A {page}\n*.{name} A {page}\n" for name in listed_names)


def dnsmasq_lines(listed_names: Sequence[str]) -> Iterator[str]:
    """`NAME/NAME/...`: as many names on a line as dnsmasq takes."""
    line: list[str] = []
    size = 0
    for name in listed_names:
        if size + len(name) + 1 > _LINE_OCTETS:
            yield "/".join(line)
            line, size = [], 0
        line.append(name)
        size += len(name) + 1
    yield "/".join(line)


def _write(path: Path, names: Iterator[str]) -> None:
    path.write_text("".join(f"{name} A\n" for name in names))


def wire(name: str) -> bytes:
    """A name without escapes in wire format."""
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def cdb_records(names: Sequence[str]) -> Iterator[bytes]:
    """Input of `cdb -c`: each name in wire format as a key."""
    for name in names:
        key = wire(name)
        yield b"+%d,1:%b->1\n" % (len(key), key)
    yield b"\n"
