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
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct, field

from resolver.config import choices
from resolver.config.cookies import Cookies as Cookies
from resolver.config.cookies import faults_of_cookies
from resolver.config.edge import Edge as Edge
from resolver.config.edge import faults_of_edge, warnings_of_edge
from resolver.config.export import Export as Export
from resolver.config.export import faults_of_export, warnings_of_export
from resolver.config.lists import HARD_LIMIT_S, LIST_BOUNDS, Fault, faults_of_list, least_poll
from resolver.config.lists import MAX_ENTRIES as MAX_ENTRIES
from resolver.config.lists import MAX_TARGET_BYTES as MAX_TARGET_BYTES
from resolver.config.lists import Guard as Guard
from resolver.config.lists import List as List
from resolver.config.lists import Source as Source
from resolver.config.page import HELP_KINDS as HELP_KINDS
from resolver.config.page import MARKER as MARKER
from resolver.config.page import TEXTS, faults_of_page, faults_of_page_in_production, warnings_of_page
from resolver.config.page import Help as Help
from resolver.config.page import HelpKind as HelpKind
from resolver.config.page import Page as Page
from resolver.config.structured_errors import faults_of_errors
from resolver.config.upstream import NEEDS_INTERFACE as NEEDS_INTERFACE
from resolver.config.upstream import Upstream as Upstream
from resolver.config.upstream import faults_of_upstream, servers_of, warnings_of_upstream
from resolver.config.values import (
    Address,
    Endpoint,
    Prefix,
    Seconds,
    Size,
    decode,
    is_zone_name,
    lacks_interface,
    nameservers,
    prefixes,
    span,
)
from resolver.core.codes import MAX_LISTS

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
        self.file, self.key, self.reason = file, key, reason
        ours = key if ours is None else ours
        self.where = f"{file}: {ours}" if ours else file


class HostFault(ConfigError):
    """A fault of this host at a key's place: a busy port, another owner, a full disk. It may end without an edit."""


class _Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One table of the file."""


class Listen(_Section, frozen=True):
    """The listening addresses, the clients that are answered (ACL), and the UDP side (threads 0: one for each core)."""

    dns: Annotated[tuple[Endpoint, ...], Meta(min_length=1, max_length=64)] = (
        Endpoint("127.0.0.1", 5300),
        Endpoint("::1", 5300),
    )
    allow: Annotated[tuple[Prefix, ...], Meta(min_length=1)] = prefixes("127.0.0.0/8", "::1/128")
    proxy_from: tuple[Prefix, ...] = ()
    engine: Literal["compiled", "python"] = "compiled"
    threads: Annotated[int, Meta(ge=0, le=64)] = 0
    user: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{0,32}\Z")] = ""


class Cache(_Section, frozen=True):
    """The cache of answers."""

    size: Size = Size(64 * 2**20)
    stale: Seconds = Seconds(3600)
    rotate: bool = True


class Bypass(_Section, frozen=True):
    """The programs and devices that are asked not to go round this resolver: keys of core.local_zones.CANARIES."""

    announce: tuple[Literal["firefox", "private-relay"], ...] = ()


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
    """The limits of queries, connections and different listed names, for each client prefix and in all."""

    queries_per_second: Annotated[int, Meta(ge=1, le=1_000_000)] = 200
    connections: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
    connections_per_client: Annotated[int, Meta(ge=1, le=1_000_000)] = 100
    distinct_blocked: Annotated[int, Meta(ge=0, le=1_000_000)] = 50
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


class Plugin(_Section, frozen=True):
    """The folder for plugins in other resolvers, and the addresses at which these resolvers prove a list."""

    folder: str = ""
    resolvers: Annotated[tuple[Endpoint, ...], Meta(max_length=64)] = ()


class Rehearsal(_Section, frozen=True):
    """A name of the operator's own that is blocked as those of a list are, so that the whole way can be tried.

    name: of at least three labels; only itself is blocked; "" is none. like: the list whose answer and clients it
    takes; "" is the first one.
    """

    name: str = ""
    like: str = ""


class Config(_Section, frozen=True):
    """The whole file."""

    lists: Annotated[tuple[List, ...], Meta(min_length=1, max_length=MAX_LISTS)] = field(name="list")
    listen: Listen = Listen()
    upstream: Upstream = Upstream()
    cache: Cache = Cache()
    bypass: Bypass = Bypass()
    page: Page = Page()
    metrics: Metrics = Metrics()
    count: Count = Count()
    state: State = State()
    limits: Limits = Limits()
    cookies: Cookies = Cookies()
    control: Control = Control()
    fleet: Fleet = Fleet()
    plugin: Plugin = Plugin()
    export: Export = Export()
    edge: Edge = Edge()
    rehearsal: Rehearsal = Rehearsal()

    @property
    def rehearsed(self) -> List | None:
        """The list as which the name of the rehearsal is blocked; None without such a name."""
        if not self.rehearsal.name:
            return None
        return next((one for one in self.lists if self.rehearsal.like in ("", one.id)), None)


# Bounds of durations (seconds) and sizes (bytes): the least and the greatest value accepted, and both in words.
_BOUNDS: Final[dict[str, tuple[int, int, str]]] = {
    "upstream.timeout": (1, 30, "1s to 30s"),
    "cache.size": (2**20, 64 * 2**30, "1MiB to 64GiB"),
    "cache.stale": (0, 7 * 86400, "0 to 7d"),
    "count.publish_every": (1, 86400, "1s to 1d"),
    "count.keep": (86400, 100 * 365 * 86400, "1d to 100y"),
    "state.audit_keep": (86400, 100 * 365 * 86400, "1d to 100y"),
}
FEW_ADDRESSES: Final = 16
LEAST_DOTS_OF_REHEARSAL: Final = 2
_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")


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
    yield from faults_of_page_in_production(config.page, config.lists)


def upstreams(config: Config) -> Iterator[tuple[str, Endpoint]]:
    """Yield every configured upstream after its key."""
    yield from servers_of(config.upstream)


def _faults(config: Config) -> Iterator[Fault]:
    yield from _out_of_bounds(config, "", _BOUNDS)
    for key, server in upstreams(config):
        if _loops(server, config.listen.dns):
            yield key, "is one of listen.dns: queries would loop; name another resolver"
        if _loops(server, (*config.edge.tls, *config.edge.https)):
            yield key, "is an address of the edge: queries would loop; name another resolver"
    for number, ours in enumerate(config.listen.dns):
        if lacks_interface(ours):
            yield f"listen.dns[{number}]", NEEDS_INTERFACE
    yield from faults_of_upstream(config.upstream)
    if config.control.socket and not config.control.socket.startswith("/"):
        yield "control.socket", 'expected an absolute path, or "" for none'
    yield from faults_of_page(config.page, config.lists)
    yield from faults_of_errors(config.page, config.lists)
    seen: set[str] = set()
    for number, one in enumerate(config.lists):
        if one.id in seen:
            yield f"list[{number}].id", "another list has this id"
        seen.add(one.id)
        yield from _out_of_bounds(one, f"list[{number}].", LIST_BOUNDS)
        yield from faults_of_list(one, f"list[{number}]", has_address=bool(config.page.addresses))
        if one.id == "releases" and (config.fleet.publish or one.source.kind == "image"):
            yield f"list[{number}].id", "is reserved in a fleet for released names; choose a different one"
    if config.plugin.folder and not config.plugin.folder.startswith("/"):
        yield "plugin.folder", 'expected an absolute path, or "" for none'
    if config.plugin.resolvers and not config.plugin.folder:
        yield "plugin.folder", "must be set where plugin.resolvers names who reads it"
    if bool(config.fleet.receipts) != bool(config.fleet.nodes):
        yield "fleet.nodes", "set both fleet.receipts and fleet.nodes, or neither"
    if config.fleet.nodes and not config.fleet.publish:
        yield "fleet.publish", "must be set on the host that collects receipts (fleet.nodes)"
    yield from _faults_of_rehearsal(config)
    yield from faults_of_cookies(config.cookies)
    yield from faults_of_export(config.export, config.lists, config.state.directory)
    yield from faults_of_edge(config.edge, config.listen.dns, config.page.listen, config.metrics.listen)
    if not all(one.demonstration for one in config.lists):
        yield from _faults_in_production(config)


def slow_polls(config: Config) -> Iterator[tuple[str, str]]:
    """Yield key and reason of each poll that is too long for its list's deadline: a failed one leaves no time."""
    for number, one in enumerate(config.lists):
        if one.source.poll * 3 > one.deadline:
            most = span(one.deadline / 3)
            yield (
                f"list[{number}].source.poll",
                f"more than a third of the list's deadline ({span(one.deadline)}): after one poll that fails a list "
                f"comes too late; at most {most}",
            )


def _faults_of_rehearsal(config: Config) -> Iterator[Fault]:
    name = config.rehearsal.name
    if config.rehearsal.like and all(one.id != config.rehearsal.like for one in config.lists):
        yield "rehearsal.like", "no list has this id"
    if not name:
        return
    if not is_zone_name(name) or name.count(".") < LEAST_DOTS_OF_REHEARSAL:
        reason = "expected a name below a domain of your own, of three labels at least, such as block-test.isp.example"
        yield "rehearsal.name", reason
    if any(name in protected_names(config, one) for one in config.lists):
        yield "rehearsal.name", "is protected, or in use by a source or the page: take a name that nothing uses"
    if len(config.lists) >= MAX_LISTS:
        yield "rehearsal.name", f"counts as a list: with it there can be {MAX_LISTS - 1} lists"


def warnings(config: Config) -> tuple[str, ...]:
    """Return a line for each setting that is accepted but probably a mistake; it names the keys."""
    return tuple(_warnings(config))


def _warnings(config: Config) -> Iterator[str]:
    for key, prefix in _holding_ipv4(config):
        yield (
            f"{key} holds {prefix}, and with ::ffff:0:0/96 all IPv4 clients, but no prefix of IPv4: if that is meant, "
            "add 0.0.0.0/0; if not, use smaller prefixes"
        )
    for key, reason in slow_polls(config):
        yield f"{key} is {reason}"
    few = sum(network.num_addresses for network in config.listen.allow) <= FEW_ADDRESSES
    loopback = all(network.is_loopback for network in config.listen.allow)
    if few and not loopback and not config.listen.proxy_from:
        yield (
            "listen.allow is a handful of addresses and listen.proxy_from is empty: if they are load balancers, all "
            "their clients share one limit, one list scope and one count; make them send PROXY v2 and name them in "
            "listen.proxy_from"
        )
    yield from warnings_of_upstream(config.upstream)
    yield from warnings_of_export(config.export, config.lists)
    yield from warnings_of_edge(config.edge)
    yield from warnings_of_page(config.page, config.lists)
    if any(network.version == 6 and not network.is_loopback for network in config.listen.allow):
        for key in _pages_of_ipv4_alone(config):
            yield (
                f"{key} has no IPv6 address, and listen.allow has IPv6 clients: those without IPv4 never see the page; "
                "add one (behind NAT64 its prefix with the page's IPv4 address, such as 64:ff9b::c000:201)"
            )


def _pages_of_ipv4_alone(config: Config) -> Iterator[str]:
    """Yield the keys of the addresses that some list's blocked answers give, if they lead by IPv4 only."""
    found: dict[str, tuple[Address, ...]] = {}
    for number, one in enumerate(config.lists):
        if one.answer == "page":
            key = f"list[{number}].addresses" if one.addresses else "page.addresses"
            found[key] = one.addresses or config.page.addresses
    for key, addresses in found.items():
        if all(address.version == 4 for address in addresses):
            yield key


def _holding_ipv4(config: Config) -> Iterator[tuple[str, Prefix]]:
    """Yield each set of prefixes, by its key, that holds all IPv4 addresses only as mapped ones (RFC 4291 2.5.5.2)."""
    sets = [("listen.allow", config.listen.allow), ("listen.proxy_from", config.listen.proxy_from)]
    sets.append(("limits.exempt", config.limits.exempt))
    for number, one in enumerate(config.lists):
        sets += [(f"list[{number}].clients", one.clients), (f"list[{number}].exempt", one.exempt)]
    for key, prefixes_of in sets:
        wide = [one for one in prefixes_of if one.version == 6 and _MAPPED.subnet_of(one)]
        if wide and all(one.version == 6 for one in prefixes_of):
            yield key, wide[0]


_AT: Final = re.compile(r"^(?P<text>.*?)(?: - at `\$\.?(?P<at>.*)`)?$", re.DOTALL)
_FIELD: Final = re.compile(r"^Object (contains unknown|missing required) field `(.*)`$", re.DOTALL)


def protected_names(config: Config, one: List) -> tuple[str, ...]:
    """Return the names that no line of a list may block without approval.

    These are the operator's `protected` names, and the hosts of every feed, every receipt and every link of the page.
    Addresses and their names below arpa are left out: lines with these are always refused.
    """
    urls = [url for each in config.lists for url in (each.source.url, each.source.receipt)]
    page = config.page
    urls += [page.leave, *(url for offer in page.help for url in (offer.url, offer.chat))]
    texts = [getattr(page, key) for key in (*TEXTS, "appeal")]
    texts += [text for each in config.lists for text in (each.authority, each.complaint, each.appeal)]
    urls += " ".join(texts).split()
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
        if words := choices.of_key(Config, " ".join(at.split())):
            text += f": {', '.join(words)}"
    return " ".join(at.split()), " ".join(text.replace("`", "").split()), ours


def _completed(config: Config) -> Config:
    """Return the configuration with the defaults of an omitted `target`, `hard_limit` and `without_list`.

    state.without_list = "refuse" is the default of a file that says nothing: it leaves a list's own "" as it is.
    """
    everywhere = "forward" if config.state.without_list == "forward" else ""
    lists = tuple(
        msgspec.structs.replace(
            one,
            source=msgspec.structs.replace(one.source, target=one.source.target or one.id),
            hard_limit=one.hard_limit or Seconds(HARD_LIMIT_S),
            without_list=one.without_list or everywhere,
        )
        for one in config.lists
    )
    return msgspec.structs.replace(config, lists=lists)


def parse(text: str, name: str) -> Config:
    """Return the configuration in `text`; ConfigError, with `name` as its file, if it has a fault.

    `upstream.servers` may be empty.
    """
    return _checked(_tables(text, name), name)


def _tables(text: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(name, "", f"not TOML: {' '.join(str(error).split())}") from None


def _checked(tables: dict[str, Any], name: str) -> Config:
    try:
        config = msgspec.convert(tables, Config, dec_hook=decode)
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

    If it names no upstream, take the nameservers of `resolv_conf`, except this service itself and link-local addresses
    without an interface.
    """
    return _with_servers(parse(_read(path), str(path)), path, resolv_conf)


def load_with(path: Path, file: Path, resolv_conf: Path = RESOLV_CONF) -> tuple[Config, List]:
    """Return the configuration at `path` with the one `[[list]]` of another file, and that list; ConfigError.

    It stands in the place of the list with the same id, if there is one.
    """
    tables, whole = _tables(_read(file), str(file)), _tables(_read(path), str(path))
    lists = tables.get("list")
    if set(tables) != {"list"} or not isinstance(lists, list) or len(lists) != 1 or not isinstance(lists[0], dict):
        reason = "expected one table [[list]] and nothing else: all else is taken from the configuration"
        raise ConfigError(str(file), "", reason)
    list_id, others = lists[0].get("id"), whole.get("list", [])
    kept = [one for one in others if not (isinstance(one, dict) and one.get("id") == list_id)]
    config = _checked({**whole, "list": [*kept, lists[0]]}, str(file))
    return _with_servers(config, path, resolv_conf), config.lists[-1]


def _with_servers(config: Config, path: Path, resolv_conf: Path) -> Config:
    if config.upstream.servers:
        return config
    found = nameservers(_read(resolv_conf))
    usable = (server for server in found if not lacks_interface(server))
    servers = tuple(server for server in usable if not _loops(server, config.listen.dns))
    if not servers:
        reason = f"none given, and {resolv_conf} names no nameserver other than this service; set upstream.servers"
        if any(map(lacks_interface, found)):
            reason = f"none given, and the nameserver of {resolv_conf} {NEEDS_INTERFACE}"
        raise ConfigError(str(path), "upstream.servers", reason)
    return msgspec.structs.replace(config, upstream=msgspec.structs.replace(config.upstream, servers=servers))


def left_out(path: Path, resolv_conf: Path = RESOLV_CONF) -> tuple[str, ...]:
    """Return a line for each nameserver of `resolv_conf` that `load` leaves out because it lacks an interface."""
    if parse(_read(path), str(path)).upstream.servers:
        return ()
    servers = filter(lacks_interface, nameservers(_read(resolv_conf)))
    return tuple(f"{resolv_conf}: nameserver {one.host} is left out: it {NEEDS_INTERFACE}" for one in servers)
