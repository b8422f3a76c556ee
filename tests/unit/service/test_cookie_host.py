"""The cookies in force: a fleet's file, a drawn secret that is replaced each day, and the time they are checked by."""

import logging
from pathlib import Path
from typing import Any

import pytest

from resolver.config.config import ConfigError
from resolver.core.cookie import Cookies
from resolver.service.cookie_host import DAY_S, CookieHost, secrets_of
from tests.unit.config.test_cookies import ONE, OTHER, parsed, written

PATH = Path("/srv/resolver.toml")


class World:
    """A host's cookies, with clocks that the test moves."""

    def __init__(self, **said: Any) -> None:
        self.now, self.unix = 1000.0, 1_559_731_985.0
        self.used: list[Cookies] = []
        self.host = CookieHost(
            PATH, parsed(said), self.used.append, clock=lambda: self.now, wall=lambda: self.unix
        )

    def secrets(self) -> list[bytes]:
        held = bytes(self.used[-1].secrets)
        return [held[at : at + 16] for at in range(0, 16 * self.used[-1].count, 16)]

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        self.unix += seconds
        self.host.look()


def test_a_drawn_secret_is_replaced_each_day_and_accepted_for_one_more() -> None:
    world = World()
    (first,) = world.secrets()
    world.pass_by(DAY_S - 1)
    assert world.secrets() == [first]
    world.pass_by(1)
    second, before = world.secrets()
    assert (before, second != first) == (first, True)
    world.pass_by(DAY_S)
    assert world.secrets()[1:] == [second]
    assert len({*world.secrets(), first}) == 3
    assert World().secrets() != [first]


def test_the_file_is_used_and_read_again(tmp_path: Path) -> None:
    file = written(tmp_path, f"{ONE}\n")
    world = World(secrets=file)
    assert world.secrets() == [bytes.fromhex(ONE)]
    world.pass_by(DAY_S)
    assert world.secrets() == [bytes.fromhex(ONE)]
    written(tmp_path, f"{OTHER}\n{ONE}\n")
    config = parsed({"secrets": file})
    world.host.take(config, secrets_of(PATH, config))
    assert world.secrets() == [bytes.fromhex(OTHER), bytes.fromhex(ONE)]
    written(tmp_path, "no secret")
    with pytest.raises(ConfigError, match="line 1") as caught:
        secrets_of(PATH, config)
    assert caught.value.key == "cookies.secrets"
    assert world.secrets() == [bytes.fromhex(OTHER), bytes.fromhex(ONE)]


def test_a_start_does_not_fail_by_the_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "resolver"):
        world = World(secrets=str(tmp_path / "none"))
    assert len(world.secrets()) == 1
    assert "check-config says why" in caplog.text
    assert str(tmp_path) not in caplog.text


def test_they_can_be_switched_off_and_on() -> None:
    world = World(answer=False)
    assert world.used[-1].count == 0
    world.pass_by(DAY_S)
    assert world.used[-1].count == 0
    world.host.take(parsed({}), ())
    assert world.used[-1].count == 2


def test_the_time_is_unix_time_also_after_the_clock_was_set() -> None:
    world = World()
    epoch_ms = world.used[-1].epoch_ms
    assert epoch_ms[0] + 1_000_000 == 1_559_731_985_000
    world.unix += 3600
    world.pass_by(10)
    assert epoch_ms[0] + 1_010_000 == 1_559_735_595_000
    # Before 1970, as on a host without a battery: no time is below zero.
    world.unix = 0
    world.host.look()
    assert epoch_ms[0] == 0
