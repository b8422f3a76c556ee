"""What of a configuration shows only on this host and in the parts: asked at a start, a reload and by check-config."""

from pathlib import Path

from resolver.config import Config, ConfigError
from resolver.page.render import PageError, Rendered, render
from resolver.query.forward import local_loops


def check(path: Path, config: Config) -> Rendered | None:
    """Return the page by this configuration, None where it is shown elsewhere.

    ConfigError where it cannot be made, or where an upstream is this host and queries would come back to us.
    """
    loop = local_loops(config.upstream.servers, config.listen.dns)
    if loop is not None:
        key = f"upstream.servers[{config.upstream.servers.index(loop)}]"
        raise ConfigError(str(path), key, "is this host, where listen.dns listens: queries would come back to us")
    if not config.page.listen:
        return None
    try:
        return render(config.page, demonstration=all(one.demonstration for one in config.lists))
    except PageError as error:
        raise ConfigError(str(path), error.key, str(error).removeprefix(f"{error.key}: ")) from None
