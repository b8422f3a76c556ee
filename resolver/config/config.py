"""Parses the TOML configuration into frozen structs; every default and bound of the service is defined here, once.

Rules:
1. An unknown key is refused, and so is a value out of bounds; an error names the file, the key and the reason in
   one line.
2. Values are parsed, not only checked: durations become seconds, sizes bytes, addresses and prefixes typed values.
3. Settings that would weaken privacy or the law (a short beat, a small batch, a fast poll, no `expire`) are accepted
   only while every list is a demonstration list.
4. `parse` opens no file; `load` reads the file, and the nameservers of /etc/resolv.conf if it names no upstream.
"""

import ipaddress
import os
import re
import stat
import tomllib
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Final, Literal, get_args
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct, field

from resolver.config.lists import HARD_LIMIT_S, LIST_BOUNDS, Fault, faults_of_list, least_poll
from resolver.config.lists import MAX_ENTRIES as MAX_ENTRIES
from resolver.config.lists import MAX_TARGET_BYTES as MAX_TARGET_BYTES
from resolver.config.lists import Guard as Guard
from resolver.config.lists import List as List
from resolver.config.lists import Source as Source
from resolver.config.values import Address, Endpoint, Prefix, Seconds, Size, decode, nameservers, prefixes
from resolver.core.codes import MAX_LISTS

MARKER: Final = "REPLACE-ME"
"""The placeholder in every text of the page that only the operator can write."""

RESOLV_CONF: Final = Path("/etc/resolv.conf")

# Bounds that no key changes.
MAX_CONFIG_BYTES: Final = 2**20
MIN_PUBLISH_EVERY_S: Final = 15 * 60
MIN_BATCH: Final = 10


class ConfigError(Exception):
    """One fault of a configuration: the file, the key's path and the reason, in one line.

    where: file and key for logs, only as far as the key's words are known ones: a typed key may hold pasted text.
    """

    def __init__(self, file: str, key: str, reason: str, ours: str | None = None) -> None:
        super().__init__(f"{file}: {key}: {reason}" if key else f"{file}: {reason}")
        self.file = file
        self.key = key
        self.reason = reason
        ours = key if ours is None else ours
        self.where = f"{file}: {ours}" if ours else file


class _Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One table of the file."""


class Listen(_Section, frozen=True):
    """The listening addresses, and the clients that are answered (ACL)."""

    dns: Annotated[tuple[Endpoint, ...], Meta(min_length=1, max_length=64)] = (
        Endpoint("127.0.0.1", 5300),
        Endpoint("::1", 5300),
    )
    allow: Annotated[tuple[Prefix, ...], Meta(min_length=1)] = prefixes("127.0.0.0/8", "::1/128")
    proxy_from: tuple[Prefix, ...] = ()
    user: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{0,32}\Z")] = ""


class Upstream(_Section, frozen=True):
    """The resolvers that queries are forwarded to."""

    servers: tuple[Endpoint, ...] = ()
    timeout: Seconds = Seconds(2)
    case_randomization: bool = False
    forward_zones: Annotated[tuple[str, ...], Meta(max_length=256)] = ()


class Cache(_Section, frozen=True):
    """The cache of answers."""

    size: Size = Size(64 * 2**20)
    stale: Seconds = Seconds(3600)
    rotate: bool = True


HelpKind = Literal["worried", "young", "report", "other"]
HELP_KINDS: Final[tuple[str, ...]] = get_args(HelpKind)


class Help(_Section, frozen=True):
    """One offer of help on the page: its text and either a web address or a telephone number.

    kind: the label under which visits of the offer are counted. worried: help for people who worry about their own
    thoughts or about somebody; young: for young people; report: a hotline that takes reports; or other.
    """

    text: str
    url: str = ""
    phone: str = ""
    kind: HelpKind = "other"


class Page(_Section, frozen=True):
    """The warning page: the addresses in blocked answers, its listening addresses, and the operator's texts."""

    addresses: tuple[Address, ...] = ()
    listen: tuple[Endpoint, ...] = (Endpoint("127.0.0.1", 8080),)
    operator: str = MARKER
    contact: str = MARKER
    authority: str = MARKER
    law: str = MARKER
    help: tuple[Help, ...] = ()


class Metrics(_Section, frozen=True):
    """The address of the exporter for Prometheus."""

    listen: Endpoint = Endpoint("127.0.0.1", 9153)


class Count(_Section, frozen=True):
    """The beat and the batch with which counts are published, and the ledger that keeps them."""

    publish_every: Seconds = Seconds(15 * 60)
    batch: Annotated[int, Meta(ge=1, le=1_000_000)] = 10
    region: Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{0,32}\Z")] = ""
    subscribers: Annotated[int, Meta(ge=0, le=10_000_000_000)] = 0
    keep: Seconds = Seconds(5 * 365 * 86400)


class State(_Section, frozen=True):
    """The state that survives a restart."""

    directory: Annotated[str, Meta(min_length=1)] = "/var/lib/blocklist-resolver"
    without_list: Literal["refuse", "forward"] = "refuse"
    keys: str = ""
    audit_keep: Seconds = Seconds(5 * 365 * 86400)


class Limits(_Section, frozen=True):
    """The limits of queries and connections, for each client prefix and in all."""

    queries_per_second: Annotated[int, Meta(ge=1, le=1_000_000)] = 200
    connections: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
    connections_per_client: Annotated[int, Meta(ge=1, le=1_000_000)] = 100
    exempt: tuple[Prefix, ...] = prefixes("127.0.0.0/8", "::1/128")


class Control(_Section, frozen=True):
    """The control socket of a running service."""

    socket: str = "/run/blocklist-resolver/control"
    group: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{0,32}\Z")] = "blocklist"
    approvers: str = "/etc/blocklist-resolver/allowed_signers"


class Fleet(_Section, frozen=True):
    """The images that a compile host publishes for its nodes, and the nodes' receipts.

    host: the name of this host in receipts, "" for its host name. publish: the folder from which nodes pull images.
    receipts: the folder that receives their receipts. nodes: a folder of NAME.pub, the public key of each node.
    """

    host: Annotated[str, Meta(pattern=r"^[A-Za-z0-9.-]{0,64}\Z")] = ""
    publish: str = ""
    receipts: str = ""
    nodes: str = ""


class Config(_Section, frozen=True):
    """The whole file."""

    lists: Annotated[tuple[List, ...], Meta(min_length=1, max_length=MAX_LISTS)] = field(name="list")
    listen: Listen = Listen()
    upstream: Upstream = Upstream()
    cache: Cache = Cache()
    page: Page = Page()
    metrics: Metrics = Metrics()
    count: Count = Count()
    state: State = State()
    limits: Limits = Limits()
    control: Control = Control()
    fleet: Fleet = Fleet()


# Bounds of durations (seconds) and sizes (bytes): the least and the greatest value accepted, and both in words.
_BOUNDS: Final[dict[str, tuple[int, int, str]]] = {
    "upstream.timeout": (1, 30, "1s to 30s"),
    "cache.size": (2**20, 64 * 2**30, "1MiB to 64GiB"),
    "cache.stale": (0, 7 * 86400, "0 to 7d"),
    "count.publish_every": (1, 86400, "1s to 1d"),
    "count.keep": (86400, 100 * 365 * 86400, "1d to 100y"),
    "state.audit_keep": (86400, 100 * 365 * 86400, "1d to 100y"),
}
_FORWARDED: Final = re.compile(r"(?:home|(?:[0-9a-z-]{1,63}\.)+(?:in-addr|ip6))\.arpa\Z", re.ASCII)
FEW_ADDRESSES: Final = 16


def _out_of_bounds(part: Struct, prefix: str, bounds: dict[str, tuple[int, int, str]]) -> Iterator[Fault]:
    for path, (least, greatest, words) in bounds.items():
        if not least <= attrgetter(path)(part) <= greatest:
            yield prefix + path, f"out of bounds: {words}"


def _loops(server: Endpoint, listen: tuple[Endpoint, ...]) -> bool:
    """Return whether a query sent to `server` would arrive at one of our own listening addresses."""
    upstream = ipaddress.ip_address(server.host)
    for ours in listen:
        address = ipaddress.ip_address(ours.host)
        everywhere = address.is_unspecified and (upstream.is_loopback or upstream.is_unspecified)
        if server.port == ours.port and (upstream == address or everywhere):
            return True
    return False


def _faults_in_production(config: Config) -> Iterator[Fault]:
    if config.count.publish_every < MIN_PUBLISH_EVERY_S:
        yield "count.publish_every", "below 15m is accepted only while every list is a demonstration list"
    if config.count.batch < MIN_BATCH:
        yield "count.batch", "below 10 is accepted only while every list is a demonstration list"
    for number, one in enumerate(config.lists):
        if one.source.poll < least_poll(one):
            reason = "below 1m (images: 10s) is accepted only while every list is a demonstration list"
            yield f"list[{number}].source.poll", reason
    if config.page.listen:
        for name in ("operator", "contact", "authority", "law"):
            if MARKER in getattr(config.page, name):
                yield f"page.{name}", f"still holds {MARKER}: the page must name you before visitors see it"


def _faults(config: Config) -> Iterator[Fault]:
    yield from _out_of_bounds(config, "", _BOUNDS)
    for number, server in enumerate(config.upstream.servers):
        if server.port == 0:
            yield f"upstream.servers[{number}]", "expected a port from 1 to 65535"
        if _loops(server, config.listen.dns):
            yield f"upstream.servers[{number}]", "is one of listen.dns: queries would loop; name another resolver"
    for number, zone in enumerate(config.upstream.forward_zones):
        if not _FORWARDED.match(zone):
            yield f"upstream.forward_zones[{number}]", "expected home.arpa or a zone below in-addr.arpa or ip6.arpa"
    if config.control.socket and not config.control.socket.startswith("/"):
        yield "control.socket", 'expected an absolute path, or "" for none'
    for number, offer in enumerate(config.page.help):
        if bool(offer.url) == bool(offer.phone):
            yield f"page.help[{number}]", "give either url or phone"
    seen: set[str] = set()
    for number, one in enumerate(config.lists):
        if one.id in seen:
            yield f"list[{number}].id", "another list has this id"
        seen.add(one.id)
        yield from _out_of_bounds(one, f"list[{number}].", LIST_BOUNDS)
        yield from faults_of_list(one, f"list[{number}]", has_address=bool(config.page.addresses))
        if one.id == "releases" and (config.fleet.publish or one.source.kind == "image"):
            yield f"list[{number}].id", "is reserved in a fleet for released names; choose a different one"
    if bool(config.fleet.receipts) != bool(config.fleet.nodes):
        yield "fleet.nodes", "set both fleet.receipts and fleet.nodes, or neither"
    if config.fleet.nodes and not config.fleet.publish:
        yield "fleet.publish", "must be set on the host that collects receipts (fleet.nodes)"
    if not all(one.demonstration for one in config.lists):
        yield from _faults_in_production(config)


def warnings(config: Config) -> tuple[str, ...]:
    """Return a line for each setting that is accepted but probably a mistake; it names the keys."""
    few = sum(network.num_addresses for network in config.listen.allow) <= FEW_ADDRESSES
    loopback = all(network.is_loopback for network in config.listen.allow)
    if few and not loopback and not config.listen.proxy_from:
        return (
            "listen.allow is a handful of addresses and listen.proxy_from is empty: if they are load balancers, all "
            "their clients share one limit, one list scope and one count; make them send PROXY v2 and name them in "
            "listen.proxy_from",
        )
    return ()


_AT: Final = re.compile(r"^(?P<text>.*?)(?: - at `\$\.?(?P<at>.*)`)?$", re.DOTALL)
_FIELD: Final = re.compile(r"^Object (contains unknown|missing required) field `(.*)`$", re.DOTALL)


def protected_names(config: Config, one: List) -> tuple[str, ...]:
    """Return the names that no line of a list may block without approval.

    These are the operator's `protected` names, and the hosts of every feed, every receipt and every link of the page.
    Addresses and their names below arpa are left out: lines with these are always refused.
    """
    urls = [url for each in config.lists for url in (each.source.url, each.source.receipt)]
    urls += [offer.url for offer in config.page.help]
    page = config.page
    urls += " ".join((page.operator, page.contact, page.authority, page.law)).split()
    hosts = set(map(_host_in, urls))
    named = {host for host in hosts if "." in host and ":" not in host and not host.replace(".", "").isdigit()}
    return (*one.guard.protected, *sorted(named))


def _host_in(word: str) -> str:
    """Return the host of a URL or of a mail address, "" if there is none."""
    word = word.strip("<>()\"',;.")
    try:
        return urlsplit(word).hostname or "" if "://" in word else word.partition("@")[2].lower()
    except ValueError:
        return ""


def _reworded(error: msgspec.ValidationError) -> tuple[str, str, str]:
    """Return (key path, reason, key path without unknown keys) of a msgspec error."""
    said = _AT.match(str(error))
    text, at = (said["text"], said["at"] or "") if said else (str(error), "")
    ours = " ".join(at.split())
    about = _FIELD.match(text)
    if about:
        at = f"{at}.{about[2]}" if at else about[2]
        ours = ours if about[1].startswith("contains") else at
        text = "unknown key" if about[1].startswith("contains") else "required"
    if text.startswith("Invalid enum value"):
        # msgspec repeats the value, which may be pasted text: keep it out of the error.
        text = "not one of the values that this key accepts"
    return " ".join(at.split()), " ".join(text.replace("`", "").split()), ours


def _completed(config: Config) -> Config:
    """Return the configuration with the defaults of an omitted `target` and `hard_limit`."""
    lists = tuple(
        msgspec.structs.replace(
            one,
            source=msgspec.structs.replace(one.source, target=one.source.target or one.id),
            hard_limit=one.hard_limit or Seconds(HARD_LIMIT_S),
        )
        for one in config.lists
    )
    return msgspec.structs.replace(config, lists=lists)


def parse(text: str, name: str) -> Config:
    """Return the configuration in `text`; ConfigError, with `name` as its file, if it has a fault.

    `upstream.servers` may be empty.
    """
    try:
        config = msgspec.convert(tomllib.loads(text), Config, dec_hook=decode)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(name, "", f"not TOML: {' '.join(str(error).split())}") from None
    except msgspec.ValidationError as error:
        raise ConfigError(name, *_reworded(error)) from None
    for key, reason in _faults(config):
        raise ConfigError(name, key, reason)
    return _completed(config)


def _read(path: Path) -> str:
    try:
        # Non-blocking: opening a pipe without a writer would otherwise block a reload while serving.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            if stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
                raise ConfigError(str(path), "", "is a pipe, which a reload cannot read again; use a regular file")
            data = file.read(MAX_CONFIG_BYTES + 1)
    except OSError as error:
        raise ConfigError(str(path), "", f"cannot be read: {error.strerror}") from None
    if len(data) > MAX_CONFIG_BYTES:
        raise ConfigError(str(path), "", "larger than 1MiB")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(str(path), "", "not UTF-8") from None


def load(path: Path, resolv_conf: Path = RESOLV_CONF) -> Config:
    """Return the configuration of the file at `path`; ConfigError if it has a fault.

    If it names no upstream, take the nameservers of `resolv_conf`, except this service itself.
    """
    config = parse(_read(path), str(path))
    if config.upstream.servers:
        return config
    found = nameservers(_read(resolv_conf))
    servers = tuple(server for server in found if not _loops(server, config.listen.dns))
    if not servers:
        reason = f"none given, and {resolv_conf} names no nameserver other than this service; set upstream.servers"
        raise ConfigError(str(path), "upstream.servers", reason)
    return msgspec.structs.replace(config, upstream=msgspec.structs.replace(config.upstream, servers=servers))
