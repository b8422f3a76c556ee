"""Defines `[export]`: the sinks for secondaries that must have the names of a list in plaintext.

Rules:
- Off unless `socket` is set. Once it is set, names leave sealed storage: `warnings_of_export` says so.
- A zone or table is of lists that this host compiles itself, and that apply to all clients: a node of a fleet has no
  names, and a secondary knows no scope of ours.
- Every transfer needs a TSIG key and a listed address. TLS needs the secondary's client certificate, too.
"""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Annotated, Final, Literal, get_args

from msgspec import Meta, Struct

from resolver.config.lists import Fault, List
from resolver.config.values import Endpoint, Prefix, ZoneName

Profile = Literal["bind", "unbound", "recursor", "knot5", "knot6"]
PROFILES: Final[tuple[str, ...]] = get_args(Profile)
MAX_SINKS: Final = 16
MOST_OF_A_PREFIX: Final = 65_536
"""So many addresses a prefix of secondaries may hold: a larger one is probably a mistake."""


class _Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One table of the file."""


class ExportZone(_Section, frozen=True):
    """A response policy zone, and who may transfer it.

    lists: ids; () is all lists. profile: the form of the records, by the product that reads them. keys: files with one
    TSIG key each. page: a name whose addresses are the page's; "" is none.
    """

    name: ZoneName
    keys: Annotated[tuple[str, ...], Meta(min_length=1, max_length=64)]
    secondaries: Annotated[tuple[Prefix, ...], Meta(min_length=1, max_length=256)]
    lists: tuple[str, ...] = ()
    profile: Profile = "bind"
    notify: Annotated[tuple[Endpoint, ...], Meta(max_length=64)] = ()
    page: ZoneName = ZoneName("")


class ExportTable(_Section, frozen=True):
    """A CDB file for dnsdist. lists: ids; () is all lists."""

    file: str
    lists: tuple[str, ...] = ()


class Export(_Section, frozen=True):
    """The process that holds names for secondaries.

    socket: where the service reaches it; "" switches it off. directory: its own folder. listen_tls: addresses for
    transfers over TLS, with certificate, key and the authority (ca) of the secondaries' certificates.
    """

    socket: str = ""
    directory: str = "/var/lib/blocklist-export"
    listen: Annotated[tuple[Endpoint, ...], Meta(max_length=16)] = ()
    listen_tls: Annotated[tuple[Endpoint, ...], Meta(max_length=16)] = ()
    certificate: str = ""
    key: str = ""
    ca: str = ""
    zone: Annotated[tuple[ExportZone, ...], Meta(max_length=MAX_SINKS)] = ()
    table: Annotated[tuple[ExportTable, ...], Meta(max_length=MAX_SINKS)] = ()


def lists_of(sink: ExportZone | ExportTable, lists: tuple[List, ...]) -> tuple[List, ...]:
    """Return the lists of a zone or table, in configured order."""
    return tuple(one for one in lists if not sink.lists or one.id in sink.lists)


def exported(export: Export, lists: tuple[List, ...]) -> tuple[str, ...]:
    """Return the ids of the lists whose names leave sealed storage, in configured order."""
    if not export.socket:
        return ()
    sinks: tuple[ExportZone | ExportTable, ...] = (*export.zone, *export.table)
    found = {one.id for sink in sinks for one in lists_of(sink, lists)}
    return tuple(one.id for one in lists if one.id in found)


def faults_of_export(export: Export, lists: tuple[List, ...], state: str) -> Iterator[Fault]:
    """Yield the faults of `[export]`; state: `state.directory`."""
    sinks = (*export.zone, *export.table)
    if not export.socket:
        if sinks:
            yield "export.socket", "required: without it no zone and no table is made"
        return
    if not export.socket.startswith("/"):
        yield "export.socket", 'expected an absolute path, or "" for none'
    if not sinks:
        yield "export.zone", "neither a zone nor a table: nothing would be exported"
    yield from _faults_of_folder(export.directory, state)
    if export.zone and not (export.listen or export.listen_tls):
        yield "export.listen", "required: an address at which secondaries transfer their zone"
    if export.listen_tls:
        for name in ("certificate", "key", "ca"):
            if not getattr(export, name):
                yield f"export.{name}", "required by export.listen_tls"
    for number, zone in enumerate(export.zone):
        yield from _faults_of_zone(zone, f"export.zone[{number}]", lists)
        if any(zone.name == other.name for other in export.zone[:number]):
            yield f"export.zone[{number}].name", "another zone has this name"
    for number, table in enumerate(export.table):
        yield from _faults_of_table(table, f"export.table[{number}]", lists)
        if any(table.file == other.file for other in export.table[:number]):
            yield f"export.table[{number}].file", "another table has this file"


def _faults_of_folder(directory: str, state: str) -> Iterator[Fault]:
    ours, theirs = PurePosixPath(directory), PurePosixPath(state)
    if not directory.startswith("/"):
        yield "export.directory", "expected an absolute path"
    elif ours == theirs or theirs in ours.parents or ours in theirs.parents:
        yield "export.directory", "must lie apart from state.directory: the service may not read it"


def _faults_of_zone(zone: ExportZone, at: str, lists: tuple[List, ...]) -> Iterator[Fault]:
    yield from _faults_of_lists(zone, at, lists)
    for number, one in enumerate(zone.secondaries):
        if one.num_addresses > MOST_OF_A_PREFIX:
            yield f"{at}.secondaries[{number}]", "more than 65536 addresses: name the secondaries"
    for number, server in enumerate(zone.notify):
        if server.port == 0:
            yield f"{at}.notify[{number}]", "expected a port from 1 to 65535"
    needs_page = zone.profile == "knot6" and any(one.answer == "page" for one in lists_of(zone, lists))
    if (needs_page and not zone.page) or (zone.page and zone.profile != "knot6"):
        yield f"{at}.page", "belongs to the profile knot6, which needs a name whose addresses are the page's"


def _faults_of_table(table: ExportTable, at: str, lists: tuple[List, ...]) -> Iterator[Fault]:
    yield from _faults_of_lists(table, at, lists)
    if not table.file.startswith("/"):
        yield f"{at}.file", "expected an absolute path"
    if len({(one.answer, one.addresses) for one in lists_of(table, lists)}) > 1:
        yield f"{at}.lists", "lists with different answers: a table has one, give each a table of its own"


def _faults_of_lists(sink: ExportZone | ExportTable, at: str, lists: tuple[List, ...]) -> Iterator[Fault]:
    known = {one.id for one in lists}
    for number, list_id in enumerate(sink.lists):
        if list_id not in known:
            yield f"{at}.lists[{number}]", "no list has this id"
    for one in lists_of(sink, lists):
        if one.source.kind == "image":
            yield f"{at}.lists", f"list {one.id} comes as an image, without names: export it on the compile host"
        if one.clients:
            yield f"{at}.lists", f"list {one.id} applies only to its clients, which a secondary would not heed"


def warnings_of_export(export: Export, lists: tuple[List, ...]) -> Iterator[str]:
    """Yield a line while names leave sealed storage, and one for each list with clients that secondaries will block."""
    names = exported(export, lists)
    if not names:
        return
    yield (
        f"export.socket: THE NAMES of {', '.join(names)} LEAVE SEALED STORAGE: they are in plaintext in "
        f"{export.directory} and on each secondary, and the administrators of each of these can read the list"
    )
    for one in lists:
        if one.id in names and one.exempt:
            yield f"list {one.id}: exempt has no effect at the secondaries of [export]: they block for everybody"
