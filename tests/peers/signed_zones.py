"""Really signed zones: test. and zones below it, some signed and some not, made by dnssec-keygen and dnssec-signzone.

Rules:
- A name that is not listed has an address of 198.51.100.0/24; a listed one of 203.0.113.0/24.
- Each zone below has an apex, `good`, `www` and `wild.good`; a signed one has a DS in its parent.
"""

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT_ZONE = "test."
SIGNED: Final = ("selfsig", "excsig", "wholesig", "relsig", "b.deep", "deep", "free")
PLAIN: Final = ("selfplain", "excplain", "wholeplain", "relplain", "plain")

_HEAD = """
$TTL 300
@ SOA ns.test. nobody.test. 7 3600 600 86400 60
@ NS ns.test.
"""
_CHILD = """
@ A 203.0.113.66
@ AAAA 2001:db8:bad::66
@ HTTPS 1 . ipv4hint=203.0.113.66
www A 203.0.113.67
good A 198.51.100.11
good AAAA 2001:db8:600d::11
wild.good A 198.51.100.12
"""
_TOP = """
ns A 127.0.0.1
ready A 198.51.100.9
ok A 198.51.100.10
selfok A 203.0.113.68
below.selfok A 198.51.100.13
"""


@dataclass(frozen=True)
class Zones:
    """Master files by zone, children before parents, and the trust anchor of test."""

    files: dict[str, str]
    anchors: tuple[str, ...]


def make(folder: Path, program: Callable[[str], str]) -> Zones:
    """Sign all zones below a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tools = (program("dnssec-keygen"), program("dnssec-signzone"))
    files: dict[str, str] = {f"{one}.{ROOT_ZONE}": _HEAD + _CHILD for one in PLAIN}
    for one in SIGNED:
        zone = f"{one}.{ROOT_ZONE}"
        text = _HEAD + _CHILD
        if one == "b.deep":
            text += "a A 198.51.100.14\nwww.a A 198.51.100.15\n"
        if one == "deep":
            text += _delegation(folder, "b", f"b.deep.{ROOT_ZONE}")
        files[zone], _ = _signed(folder, zone, text, tools)
    top = _HEAD + _TOP
    for one in (*SIGNED, *PLAIN):
        if "." not in one:
            top += _delegation(folder, one, f"{one}.{ROOT_ZONE}")
    files[ROOT_ZONE], anchor = _signed(folder, ROOT_ZONE, top, tools)
    return Zones({ROOT_ZONE: files.pop(ROOT_ZONE), **files}, (anchor,))


def _delegation(folder: Path, label: str, zone: str) -> str:
    dsset = folder / f"dsset-{zone}"
    return f"{label} NS ns.test.\n" + (dsset.read_text() if dsset.exists() else "")


def _signed(folder: Path, zone: str, text: str, tools: Sequence[str]) -> tuple[str, str]:
    """A zone signed by one key of its own, and that key as an anchor."""
    keygen, signzone = tools
    made = [keygen, "-q", "-a", "ECDSAP256SHA256", "-f", "KSK", "-K", str(folder), zone]
    key = subprocess.run(made, check=True, capture_output=True, text=True).stdout.strip()
    record = (folder / f"{key}.key").read_text().splitlines()[-1].split()
    source = folder / f"{zone}source"
    source.write_text(text + " ".join(record) + "\n")
    done = folder / f"{zone}signed"
    sign = [signzone, "-z", "-o", zone, "-f", str(done), "-K", str(folder), "-d", str(folder), str(source), key]
    subprocess.run(sign, check=True, capture_output=True, cwd=folder)
    return done.read_text(), " ".join([zone, *record[3:6], "".join(record[6:])])
