"""Names and addresses that occur nowhere else, and every form in which they could turn up where they must not.

Rules:
- A canary is drawn anew in each run; one label of it is random, so finding the label is finding the name, be it as
  text, in wire format, in an A-label or in another case.
- Looked for besides: UTF-16, hex, base64 at every alignment, reversed, percent and JSON escapes, and hashes without
  a key, which tell a name to everybody who has a list of candidates.
- Octets are searched in two steps, for there are thousands of forms: whoever holds a form of 15 octets or more holds,
  at a multiple of eight, one of the words of eight octets at the form's first eight offsets. Only octets with such a
  word are searched for each form; the few shorter forms are looked for everywhere.
"""

import base64
import hashlib
import ipaddress
import json
import os
import random
import stat
import string
import sys
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import idna

from resolver.cli.typed import wire

_random = random.SystemRandom()
_GREEK = "αβγδεζηθικλμνξοπρστυφχψω"
_HASHES = ("md5", "sha1", "sha256", "blake2b")


def label(letters: str = string.ascii_lowercase, size: int = 18) -> str:
    """A label that nobody has used."""
    return "".join(_random.choice(letters) for _ in range(size))


def name(zone: str = "test") -> str:
    """A name with such a label, and one below it."""
    return f"{label()}.{zone}"


def unicode_name(zone: str = "test") -> str:
    """A name whose label is all Greek."""
    return f"{label(_GREEK, 12)}.{zone}"


def mixed(text: str) -> str:
    """The same name in another case."""
    return "".join(one.upper() if number % 2 else one for number, one in enumerate(text))


def address(net: int) -> str:
    """An address of loopback: 127.`net`.x.y, three digits each, so that none is the start of another."""
    return f"127.{net}.{_random.randrange(100, 256)}.{_random.randrange(100, 256)}"


@dataclass(frozen=True)
class Needle:
    """One form of a canary; `folded` forms are looked for without regard to case."""

    what: str
    octets: bytes
    folded: bool = True


def needles_of_name(text: str) -> Iterator[Needle]:
    """The forms of a name."""
    own = text.split(".")[0]
    plain = own if own.isascii() else idna.encode(own, uts46=True).decode()
    for form in {own, plain}:
        octets = form.encode()
        yield Needle("text or wire", octets)
        yield Needle("UTF-16", form.encode("utf-16-le"))
        yield Needle("hex", octets.hex().encode())
        yield Needle("hex of upper case", form.upper().encode().hex().encode())
        yield Needle("reversed", form[::-1].encode())
        for cased in (form, mixed(form)):
            yield from _base64(cased.encode())
    if own != plain:
        yield Needle("percent", quote(own).encode())
        yield Needle("JSON", json.dumps(own)[1:-1].encode())
    whole = f"{plain}.{text.partition('.')[2]}"
    for octets in (whole.encode(), f"{whole}.".encode(), f"{whole}\n".encode(), wire(whole)):
        for algorithm in _HASHES:
            digest = hashlib.new(algorithm, octets).digest()
            yield Needle(f"{algorithm} as hex", digest[:16].hex().encode())
            yield Needle(algorithm, digest[:16], folded=False)


def needles_of_address(text: str) -> Iterator[Needle]:
    """The forms of a client's address."""
    packed = ipaddress.IPv4Address(text).packed
    yield Needle("text", text.encode())
    yield Needle("reversed", ".".join(reversed(text.split("."))).encode())
    yield Needle("as a number", str(int.from_bytes(packed, "big")).encode())
    yield Needle("mapped", b"\0" * 10 + b"\xff\xff" + packed, folded=False)
    yield Needle("mapped as hex", b"ffff" + packed.hex().encode())
    yield Needle("mapped as text", b"ffff:%x:%x" % (packed[0] << 8 | packed[1], packed[2] << 8 | packed[3]))


def _base64(octets: bytes) -> Iterator[Needle]:
    """What stands in the middle of the base64 of any text that holds `octets`."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + octets)
        first, rest = (0, 2, 3)[before], (len(octets) + before) % 3
        yield Needle("base64", encoded[first : len(encoded) - (4 if rest else 0)], folded=False)


WORD = 8


class Forms:
    """Octet strings to be looked for, each with what it is a form of."""

    def __init__(self, forms: Iterable[tuple[str, bytes]]) -> None:
        self._forms = tuple(forms)
        self._words = set[int]()
        self._short = list[bytes]()
        for _, form in self._forms:
            words = {int.from_bytes(form[at : at + WORD], sys.byteorder) for at in range(WORD)}
            if len(form) >= 2 * WORD - 1 and 0 not in words:
                self._words |= words
            else:
                self._short.append(form)

    def found_in(self, octets: bytes) -> list[str]:
        """What the forms that `octets` holds are forms of."""
        words = memoryview(octets)[: len(octets) // WORD * WORD].cast("Q")
        if self._words.isdisjoint(words) and not any(form in octets for form in self._short):
            return []
        return [what for what, form in self._forms if form in octets]


class Canaries:
    """A set of canaries, and what finds them."""

    def __init__(self, names: Iterable[str] = (), addresses: Iterable[str] = ()) -> None:
        found = [(one, needle) for one in names for needle in needles_of_name(one)]
        found += [(one, needle) for one in addresses for needle in needles_of_address(one)]
        told = [(f"{canary}: {needle.what}", needle) for canary, needle in found]
        self._folded = Forms((what, needle.octets.lower()) for what, needle in told if needle.folded)
        self._as_they_are = Forms((what, needle.octets) for what, needle in told if not needle.folded)
        self._spelt = Forms(
            (what, needle.octets) for what, needle in told if needle.what in ("text or wire", "UTF-16")
        )

    def found_in(self, octets: bytes) -> list[str]:
        """The canaries in `octets`, each with its form."""
        return [*self._folded.found_in(octets.lower()), *self._as_they_are.found_in(octets)]

    def spelt_in(self, octets: bytes) -> list[str]:
        """The canaries in `octets` as they are written, in one case."""
        return self._spelt.found_in(octets)

    def found_below(
        self, folders: Iterable[Path], since: float = 0.0, *, but: Collection[Path] = ()
    ) -> dict[str, list[str]]:
        """The canaries in what changed `since`, by path: in names, in files and in what links point to.

        but: folders that are passed over.
        Whatever was made, renamed or written since has a ctime since then; no program can set that back.
        """
        found = {}
        for path in _below(folders, but):
            try:
                status = path.lstat()
                if status.st_ctime < since:
                    continue
                octets = str(path).encode() + b"\n"
                if stat.S_ISLNK(status.st_mode):
                    octets += str(path.readlink()).encode()
                elif stat.S_ISREG(status.st_mode):
                    octets += path.read_bytes()
            except OSError:
                continue
            if canaries := self.found_in(octets):
                found[str(path)] = canaries
        return found


def _below(folders: Iterable[Path], but: Collection[Path]) -> Iterator[Path]:
    """Every folder and file below; what others take away meanwhile is passed over."""
    for folder in folders:
        for parent, inner, files in os.walk(folder):
            inner[:] = [one for one in inner if Path(parent, one) not in but]
            yield from (Path(parent) / name for name in (*inner, *files))
