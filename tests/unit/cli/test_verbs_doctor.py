"""The verb `doctor`: the same command as the zipapp's, with this program's exit status and errors."""

import pytest

from resolver.cli import main
from tests.unit.doctor.resolvers import Enforcing, saying


def test_it_probes_and_exits_with_what_was_found(capsys: pytest.CaptureFixture[str]) -> None:
    for faults, status in (((), 0), (("aaaa",), 3)):
        with saying(Enforcing(*faults)) as place:
            words = ["doctor", "--server", str(place), "--dot", "127.0.0.1:1", "--doh", "127.0.0.1:1"]
            assert main.main(words) == status
        said = capsys.readouterr()
        assert said.err == ""
        assert ("LEAKS: AAAA" in said.out) == bool(faults)


def test_what_cannot_be_done_is_an_error_of_this_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["doctor", "--server", "secret.test"]) == 2
    assert capsys.readouterr().err.startswith("blocklist-resolver: --server: an address with a port")
    assert main.main(["doctor", "--server", "127.0.0.1:1"]) == 1
    assert capsys.readouterr().err.startswith("blocklist-resolver: 127.0.0.1:1: nothing answers")
