"""Has the secrets of DNS cookies and the time that they are checked by, and puts them into the tables in force.

Rules:
- `cookies.secrets` names a fleet's file (config.cookies): the first secret makes cookies, all are accepted. It is read
  at the start and at each reload; a reload is refused if the file is unusable, and those before stay. At the start the
  lists come first: without a usable file a secret is drawn, and the log says so.
- Without a file a secret is drawn at the start and each day; the one before is accepted for a day more. It is never
  written, and no other process has it.
- The steps count time since the host has booted; how far that is from Unix time is read every EVERY_S seconds.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from resolver.config.config import Config, ConfigError
from resolver.config.cookies import SecretsUnusable, read_secrets
from resolver.core.cookie import SECRET_OCTETS, Cookies

EVERY_S: Final = 10.0
DAY_S: Final = 86400.0
KEY: Final = "cookies.secrets"

_log: Final = logging.getLogger("resolver")


def secrets_of(path: Path, config: Config) -> tuple[bytes, ...]:
    """Return the secrets in the file that the configuration at `path` names, none without one; ConfigError if it is
    unusable."""
    if not config.cookies.answer or not config.cookies.secrets:
        return ()
    try:
        return read_secrets(config.cookies.secrets)
    except SecretsUnusable as error:
        raise ConfigError(str(path), KEY, str(error)) from None


class CookieHost:
    """Has the cookies. use: takes them into the tables in force. clock, wall: monotonic and Unix time, in seconds."""

    def __init__(
        self,
        path: Path,
        config: Config,
        use: Callable[[Cookies], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._use = use
        self._clock = clock
        self._wall = wall
        self._epoch_ms = memoryview(bytearray(8)).cast("Q")
        self._drawn = [secrets.token_bytes(SECRET_OCTETS)]
        self._drawn_at = clock()
        self._cookies = config.cookies
        self._read: tuple[bytes, ...] = ()
        self.look()
        try:
            self.take(config, secrets_of(path, config))
        except ConfigError as error:
            _log.error("%s: cookies have a secret of this process until a reload; check-config says why", error.where)
            self.take(config, ())

    def take(self, config: Config, read: tuple[bytes, ...]) -> None:
        """Put a configuration's cookies in force; `read`: what `secrets_of` has returned for it."""
        self._cookies, self._read = config.cookies, read
        self._put()

    def look(self) -> None:
        """Read the time, and draw the next secret when its day has come."""
        now = self._clock()
        self._epoch_ms[0] = max(0, int(self._wall() * 1000) - int(now * 1000))
        if now - self._drawn_at >= DAY_S:
            self._drawn_at = now
            self._drawn = [secrets.token_bytes(SECRET_OCTETS), self._drawn[0]]
            if self._cookies.answer and not self._read:
                self._put()

    async def run(self) -> None:
        """Look every EVERY_S seconds."""
        while True:
            await asyncio.sleep(EVERY_S)
            self.look()

    def _put(self) -> None:
        held = (self._read or self._drawn) if self._cookies.answer else ()
        self._use(Cookies(held, self._epoch_ms))
