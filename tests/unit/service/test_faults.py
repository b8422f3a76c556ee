"""Errors as an operator reads them: the file, the key, and what this host says."""

import errno
from pathlib import Path

import pytest

from resolver.config.config import ConfigError, HostFault
from resolver.service.faults import named

FILE = Path("/etc/blocklist-resolver/resolver.toml")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EACCES, "text", "/var/lib/one"), "cannot be used: Permission denied (/var/lib/one)"),
        (OSError(errno.EADDRINUSE, "text"), "cannot be used: Address already in use"),
        (TimeoutError(), "cannot be used: TimeoutError"),
    ],
)
def test_what_the_host_does_not_allow_is_said_with_its_key(error: OSError, said: str) -> None:
    with pytest.raises(HostFault) as fault, named(FILE, "state.directory", "cannot be used"):
        raise error
    assert str(fault.value) == f"{FILE}: state.directory: {said}"


def test_a_wrong_value_is_a_fault_of_the_configuration() -> None:
    with pytest.raises(ConfigError) as fault, named(FILE, "listen.dns", "cannot listen there"):
        raise ValueError("no such interface")
    assert not isinstance(fault.value, HostFault)
    assert str(fault.value) == f"{FILE}: listen.dns: no such interface"


def test_without_an_error_nothing_is_said() -> None:
    done = []
    with named(FILE, "listen.dns", "cannot listen there"):
        done.append(1)
    assert done == [1]
