"""What of a configuration shows only on this host and in the parts: asked at a start, a reload and by check-config.

Rules:
- A file that lists are guarded by is looked at by check-config alone: at a start a missing one must not keep the saved
  lists out of force; the updates that need it fail and say so.
"""

from pathlib import Path

from resolver.config.config import Config, ConfigError
from resolver.feed.names import guard_lines
from resolver.page.render import PageError, Rendered, render
from resolver.query.forward import local_loops


def check(path: Path, config: Config) -> Rendered | None:
    """Return the page by this configuration, None where it is shown elsewhere.

    ConfigError where it cannot be made, where a name that is to be protected is none, or where an upstream is this host
    and queries would come back to us.
    """
    loop = local_loops(config.upstream.servers, config.listen.dns)
    if loop is not None:
        key = f"upstream.servers[{config.upstream.servers.index(loop)}]"
        raise ConfigError(str(path), key, "is this host, where listen.dns listens: queries would come back to us")
    for number, one in enumerate(config.lists):
        for at, name in enumerate(one.guard.protected):
            if not guard_lines.can_be_protected(name):
                key = f"list[{number}].guard.protected[{at}]"
                raise ConfigError(str(path), key, "not a domain name: it would protect nothing")
    if not config.page.listen:
        return None
    try:
        return render(config.page, demonstration=all(one.demonstration for one in config.lists))
    except PageError as error:
        raise ConfigError(str(path), error.key, str(error).removeprefix(f"{error.key}: ")) from None


def check_files(path: Path, config: Config) -> None:
    """Look at the files of popular names; ConfigError where one cannot be used: no new list would come in force."""
    for number, one in enumerate(config.lists):
        if not one.guard.popular:
            continue
        try:
            fault = guard_lines.fault_of_popular(guard_lines.popular_names(Path(one.guard.popular)))
        except OSError as error:
            fault = f"cannot be read: {error.strerror or type(error).__name__}"
        except UnicodeDecodeError:
            fault = "not UTF-8"
        except ValueError as error:
            fault = str(error)
        if fault:
            raise ConfigError(str(path), f"list[{number}].guard.popular", fault)
