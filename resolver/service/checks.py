"""Checks the part of a configuration that only this host and the parts know: at a start, a reload and by check-config.

Rules:
- Only check-config compares polls with deadlines, reads the files that guard lists and looks for interfaces: at a start
  none of these must keep the saved lists out of force, nor the other upstreams; what needs them fails and says so.
"""

import os
import ssl
from pathlib import Path
from typing import Final

from resolver.config.config import Config, ConfigError, slow_polls, upstreams
from resolver.config.values import sockaddr
from resolver.feed import fleet_receipts, operator_names
from resolver.page.render import PageError, render
from resolver.page.rendered import Rendered
from resolver.query.accept_sockets import is_missing
from resolver.query.forward import local_loops
from resolver.service import newcomers
from resolver.service.cookie_host import secrets_of
from resolver.service.host.systemd import Unit
from resolver.service.host.systemd import unit as unit

_MOST_LINES: Final = 10


def check(path: Path, config: Config) -> Rendered | None:
    """Return the page by this configuration; None if this host does not show it.

    ConfigError if the page cannot be made, if a name to protect is no domain name, or if an upstream is this host, so
    that queries would come back to us.
    """
    for key, server in upstreams(config):
        if local_loops([server], config.listen.dns):
            raise ConfigError(str(path), key, "is this host, where listen.dns listens: queries would come back to us")
    for number, one in enumerate(config.lists):
        for at, name in enumerate(one.guard.protected):
            if not operator_names.can_be_protected(name):
                key = f"list[{number}].guard.protected[{at}]"
                raise ConfigError(str(path), key, "not a domain name: it would protect nothing")
    if not config.page.listen:
        return None
    try:
        return render(config.page, config.lists, demonstration=all(one.demonstration for one in config.lists))
    except PageError as error:
        raise ConfigError(str(path), error.key, str(error).removeprefix(f"{error.key}: ")) from None


def check_deadlines(path: Path, config: Config) -> None:
    """Compare each list's poll with its deadline; ConfigError if a list cannot be in force in time.

    A service that runs with such a file goes on, with a warning: it must not end because of it.
    """
    for key, reason in slow_polls(config):
        raise ConfigError(str(path), key, reason)


def new_lists(config: Config) -> tuple[str, ...]:
    """Return a line for each list that has no serial in force, about what names get until it has."""
    try:
        return tuple(newcomers.lines(config))
    except OSError as error:
        said = f"{config.state.directory} cannot be read ({error.strerror})"
        return (f"{said}: run this as the service's account to see what lists without a serial in force do",)


def check_interfaces(path: Path, config: Config) -> None:
    """Look for the interfaces that link-local addresses name; ConfigError if this host does not have one."""
    listening = ((f"listen.dns[{number}]", one) for number, one in enumerate(config.listen.dns))
    for key, endpoint in (*listening, *upstreams(config)):
        try:
            sockaddr(endpoint)
        except OSError:
            reason = f"this host has no interface {endpoint.host.partition('%')[2]}; ip link shows those it has"
            raise ConfigError(str(path), key, reason) from None


def missing_addresses(config: Config) -> tuple[str, ...]:
    """Return a line for each listening address that is not one of this host's now."""
    return tuple(
        f"listen.dns[{number}]: {one} is not an address of this host now; it is bound all the same, and answered once "
        "it is"
        for number, one in enumerate(config.listen.dns)
        if is_missing(one.host)
    )


def check_files(path: Path, config: Config) -> None:
    """Read the files of popular names, of the CAs of upstreams and of cookies' secrets; ConfigError if one is unusable.

    Without the first no new list would come in force, without the second no encrypted upstream would be asked.
    """
    secrets_of(path, config)
    if config.upstream.ca and not _has_certificates(Path(config.upstream.ca)):
        raise ConfigError(str(path), "upstream.ca", "holds no certificate in PEM that the service's account can read")
    for number, one in enumerate(config.lists):
        if not one.guard.popular:
            continue
        try:
            fault = operator_names.fault_of_popular(operator_names.popular_names(Path(one.guard.popular)))
        except OSError as error:
            fault = f"cannot be read: {error.strerror or type(error).__name__}"
        except UnicodeDecodeError:
            fault = "not UTF-8"
        except ValueError as error:
            fault = str(error)
        if fault:
            raise ConfigError(str(path), f"list[{number}].guard.popular", fault)


def _has_certificates(file: Path) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except OSError:
        return False
    return True


def stray_lists(config: Config) -> tuple[str, ...]:
    """Return a line for each file of lists of a fleet's node that names no list of this host, or that no node has."""
    if not config.fleet.nodes:
        return ()
    found, ids = [], {one.id for one in config.lists}
    for path in sorted(Path(config.fleet.nodes).glob("*.lists")):
        said = fleet_receipts.lists_in(path)
        if not path.with_suffix(".pub").exists():
            found.append(f"fleet.nodes: {path}: no node has this name: there is no {path.with_suffix('.pub').name}")
        elif said is None:
            found.append(f"fleet.nodes: {path}: cannot be read: this node is expected to carry every list")
        elif not said <= ids:
            found.append(f"fleet.nodes: {path}: {len(said - ids)} of its words are no list of this configuration")
    return tuple(found)


def unusable_folders(config: Config) -> tuple[str, ...]:
    """Return a line for each folder or file that the account of this process cannot use as the service must."""
    found = []
    state = Path(config.state.directory)
    mine = [(f"state.directory: {one}", one) for one in (state, *_below(state))] if state.exists() else []
    written = [*mine, *_receipts(config), *_folders(config)]
    for said, path in written:
        if not path.exists():
            found.append(f"{said} is not there: make it, and give it to the service's account")
        elif not os.access(path, os.W_OK | (os.X_OK if path.is_dir() else 0), effective_ids=True):
            found.append(f"{said} cannot be written by the service's account: chown it")
        if len(found) >= _MOST_LINES:
            break
    return tuple(found)


def closed_by_the_unit(config: Config, unit: Unit | None) -> tuple[str, ...]:
    """Return a line for each folder that systemd keeps read-only for the unit; none if there is no such unit."""
    if unit is None or not unit.strict:
        return ()
    wanted = [*_receipts(config), *_folders(config)]
    advice = "is read-only for the unit: a drop-in with ReadWritePaths= opens it (deploy/systemd, fleet and receipts)"
    return tuple(f"{said} {advice}" for said, path in wanted if not any(path.is_relative_to(one) for one in unit.open))


def _below(state: Path) -> list[Path]:
    try:
        return sorted(state.rglob("*"))
    except OSError:
        return []


def _receipts(config: Config) -> list[tuple[str, Path]]:
    named = ((one.id, one.source.receipt) for one in config.lists if one.source.receipt.startswith("/"))
    return [(f"list.{list_id}.source.receipt: {path}", Path(path)) for list_id, path in named]


def _folders(config: Config) -> list[tuple[str, Path]]:
    fleet = ("fleet.publish", config.fleet.publish), ("fleet.receipts", config.fleet.receipts)
    named = (*fleet, ("plugin.folder", config.plugin.folder))
    return [(f"{key}: {path}", Path(path)) for key, path in named if path]
