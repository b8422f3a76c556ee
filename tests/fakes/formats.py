"""Writes entries in the formats that `authority convert` reads, and says what each format blocks by a rule of its own.

The rules are a second implementation, made from the documents of each format and independent of the converter: a test
compares what they say of a name with what the converted list says of it.
"""

import re
from collections.abc import Callable, Iterable

Entries = dict[str, set[str]]
"""Names, and which of these they have: "=" blocks the name, "*." those below, "!=" and "!*." spare them."""


def hosts(entries: Entries) -> str:
    """What a hosts file can say: the names alone."""
    return "127.0.0.1 localhost\n" + "".join(f"0.0.0.0 {name}\n" for name in entries)


def adblock(entries: Entries) -> str:
    """Whole names and whole exceptions."""
    return "[Adblock Plus 2.0]\n! t\n" + "".join(f"{'@@' * ('!=' in say)}||{name}^\n" for name, say in entries.items())


def dnsmasq(entries: Entries) -> str:
    """Whole names and whole exceptions."""
    return "".join(f"server=/{name}/#\n" if "!=" in say else f"address=/{name}/#\n" for name, say in entries.items())


def unbound(entries: Entries) -> str:
    """Whole names, whole exceptions, and single names."""
    lines = ["server:"]
    for name, say in entries.items():
        if "!=" in say:
            lines.append(f'  local-zone: "{name}." always_transparent')
        elif "*." in say:
            lines.append(f'  local-zone: "{name}" always_nxdomain')
        else:
            lines.append(f'  local-data: "{name} 60 IN A 0.0.0.0"')
    return "\n".join(lines) + "\n"


def rpz(entries: Entries) -> str:
    """All that a list can say."""
    target = {"=": ("", "."), "*.": ("*.", "."), "!=": ("", "rpz-passthru."), "!*.": ("*.", "rpz-passthru.")}
    lines = ["$TTL 60", "@ SOA ns. mail. 1 3600 600 86400 60", "  NS ns."]
    lines += [f"{target[one][0]}{name} CNAME {target[one][1]}" for name, say in entries.items() for one in sorted(say)]
    return "\n".join(lines) + "\n"


def csv(entries: Entries) -> str:
    """Whole names."""
    return "1;2026-11-25T06:00:00Z\n" + "".join(f"http://{name}/;{name};;\n" for name in entries)


def urls(entries: Entries) -> str:
    """Single names."""
    return "".join(f"https://{name}/\n" for name in entries)


def wildcards(entries: Entries) -> str:
    """Single names, and the names below one."""
    return "".join(("*." if one == "*." else "") + name + "\n" for name, say in entries.items() for one in sorted(say))


WHOLE = {"=", "*."}
SPARED = {"!=", "!*."}
WRITERS: dict[str, tuple[Callable[[Entries], str], tuple[set[str], ...]]] = {
    "hosts": (hosts, ({"="},)),
    "adblock": (adblock, (WHOLE, SPARED)),
    "dnsmasq": (dnsmasq, (WHOLE, SPARED)),
    "unbound": (unbound, (WHOLE, SPARED, {"="})),
    "rpz": (rpz, (WHOLE, SPARED, {"="}, {"*."}, {"!="}, {"!*."})),
    "csv": (csv, (WHOLE,)),
    "urls": (urls, ({"="},)),
    "wildcards": (wildcards, (WHOLE, {"="}, {"*."})),
}
"""Each writer, and what it can say of a name."""

# What the formats block: `blocks(text, name)` of each.


def _suffixes(name: str) -> Iterable[str]:
    while name:
        yield name
        name = name.partition(".")[2]


def _hosts_block(text: str, name: str) -> bool:
    sinks = {"0.0.0.0", "127.0.0.1", "::", "::1"}
    lines = [line.split("#")[0].split() for line in text.split("\n")]
    return any(line and line[0] in sinks and name in (one.lower().rstrip(".") for one in line[1:]) for line in lines)


def _adblock_block(text: str, name: str) -> bool:
    found, rules = False, [line.strip().lower() for line in text.split("\n")]
    for rule in rules:
        for suffix in _suffixes(name):
            if rule in (f"@@||{suffix}^", f"@@||{suffix}.^"):
                return False
            found = found or rule in (f"||{suffix}^", f"||{suffix}.^")
    return found


def _dnsmasq_block(text: str, name: str) -> bool:
    rules: dict[str, bool] = {}
    for line in text.split("\n"):
        line = re.sub(r"(^|\s)#.*", "", line).strip()
        found = re.fullmatch(r"(?:--)?(address|server|local)\s*=\s*/(.*)/([^/]*)", line, re.IGNORECASE)
        if not found:
            continue
        sinks = ("", "#", "0.0.0.0", "127.0.0.1", "::", "::1") if found[1].lower() == "address" else ("",)
        for one in found[2].split("/"):
            one = one.lower().rstrip(".")
            rules[one] = rules.get(one, False) or found[3] in sinks
    return next((rules[suffix] for suffix in _suffixes(name) if suffix in rules), False)


def _unbound_block(text: str, name: str) -> bool:
    zones: dict[str, list[str]] = {}
    data: dict[str, list[bool]] = {}
    for line in text.split("\n"):
        line = re.sub(r"(^|\s)#.*", "", line).strip()
        if found := re.fullmatch(r"local-zone\s*:\s*[\"']?([^\s\"']+)[\"']?\s+[\"']?(\S+?)[\"']?", line, re.IGNORECASE):
            zones.setdefault(found[1].lower().rstrip("."), []).append(found[2].lower())
        elif found := re.fullmatch(r"local-data\s*:\s*[\"'](.*)[\"']", line, re.IGNORECASE):
            words = found[1].split()
            sink = bool(words) and words[-1] in ("0.0.0.0", "127.0.0.1", "::", "::1")
            data.setdefault(words[0].lower().rstrip(".") if words else "", []).append(sink)
    if any(data.get(name, ())):
        return True
    spares = ("transparent", "always_transparent", "typetransparent", "inform", "nodefault")
    for suffix in _suffixes(name):
        if suffix in zones:
            kinds = zones[suffix]
            blocking = [kind for kind in kinds if kind not in spares]
            return bool(blocking) and not ("redirect" in "".join(blocking) and data.get(suffix))
    return False


def _urls_block(text: str, name: str) -> bool:
    # An empty port is no port (RFC 3986, section 6.2.3).
    lines = (line.strip().lower() for line in text.split("\n"))
    return any(re.fullmatch(rf"h(tt|xx)ps?://{re.escape(name)}\.?:?/?", line) for line in lines)


def _wildcards_block(text: str, name: str) -> bool:
    lines = {re.sub(r"(^|\s)#.*", "", line).strip().lower().rstrip(".") for line in text.split("\n")}
    return name in lines or any(f"*.{suffix}" in lines for suffix in list(_suffixes(name))[1:])


BLOCKS: dict[str, Callable[[str, str], bool]] = {
    "hosts": _hosts_block,
    "adblock": _adblock_block,
    "dnsmasq": _dnsmasq_block,
    "unbound": _unbound_block,
    "urls": _urls_block,
    "wildcards": _wildcards_block,
}
"""What each format blocks; those of csv and rpz are read by the code that reads such lists from a source."""
