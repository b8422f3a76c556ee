"""What is listed and what is asked: drawn from a seed, reserved names only."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

SEED = 20
ALLOWED = "allowed.test"
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_ZONES = [f"{two}{number}" for two in ("aa", "bb", "cc", "dd", "ee", "ff") for number in range(41)]
_TLDS = ("test", "example", "invalid")
CACHED_NAMES = 20_000

ZONE = f"""$TTL 3600
@ SOA ns nobody 1 3600 600 86400 300
@ NS ns
ns A 127.0.0.1
*.{ALLOWED}. A 198.51.100.1
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
