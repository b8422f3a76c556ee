"""Gives an error of the system the key of the configuration that it is about."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from resolver.config.config import ConfigError, HostFault


@contextmanager
def named(path: Path, key: str, what: str) -> Iterator[None]:
    """Turn an error of the system into a HostFault, and a wrong value into a ConfigError, that names the key."""
    try:
        yield
    except ValueError as error:
        raise ConfigError(str(path), key, str(error)) from None
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else type(error).__name__
        at = f" ({error.filename})" if isinstance(error.filename, str) else ""
        raise HostFault(str(path), key, f"{what}: {why}{at}") from None
