"""Checks the part of a configuration that only this host and the parts know: at a start, a reload and by check-config.

Rules:
- Only check-config reads the files that guard lists: at a start a missing file must not keep the saved lists out of
  force; the updates that need it fail and say so.
"""

from pathlib import Path

from resolver.config.config import Config, ConfigError
from resolver.feed import operator_names
from resolver.page.render import PageError, Rendered, render
from resolver.query.forward import local_loops


def check(path: Path, config: Config) -> Rendered | None:
    """Return the page by this configuration; None if this host does not show it.

    ConfigError if the page cannot be made, if a name to protect is no domain name, or if an upstream is this host, so
    that queries would come back to us.
    """
    loop = local_loops(config.upstream.servers, config.listen.dns)
    if loop is not None:
        key = f"upstream.servers[{config.upstream.servers.index(loop)}]"
        raise ConfigError(str(path), key, "is this host, where listen.dns listens: queries would come back to us")
    for number, one in enumerate(config.lists):
        for at, name in enumerate(one.guard.protected):
            if not operator_names.can_be_protected(name):
                key = f"list[{number}].guard.protected[{at}]"
                raise ConfigError(str(path), key, "not a domain name: it would protect nothing")
    if not config.page.listen:
        return None
    try:
        return render(config.page, demonstration=all(one.demonstration for one in config.lists))
    except PageError as error:
        raise ConfigError(str(path), error.key, str(error).removeprefix(f"{error.key}: ")) from None


def check_files(path: Path, config: Config) -> None:
    """Read the files of popular names; ConfigError if one cannot be used: no new list would come in force."""
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
