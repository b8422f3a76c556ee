"""`receive` as it is typed: what it needs, and how it ends."""

import http.client
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from resolver.cli import main
from resolver.signed import statement

ROOT = Path(__file__).parents[3]
KEY = Ed25519PrivateKey.generate()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("in", "keys"):
        (tmp_path / name).mkdir()
    (tmp_path / "keys/one.pub").write_bytes(statement.pem_of(statement.public_of(KEY)))
    return tmp_path


def words(folder: Path, *more: str) -> list[str]:
    return ["receive", "--folder", str(folder / "in"), "--keys", str(folder / "keys"), *more]


def test_without_a_socket_it_is_a_mistake_of_the_command_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(words(folder)) == 2
    assert "--socket names none" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["0", "-1", "x", "1000001"])
def test_a_number_of_files_is_at_least_one(number: str, folder: Path) -> None:
    with pytest.raises(SystemExit) as left:
        main.main(words(folder, "--keep", number))
    assert left.value.code == 2


@pytest.mark.parametrize("missing", ["in", "keys"])
def test_a_folder_that_cannot_be_used_is_named(
    missing: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / missing).rename(folder / "elsewhere")
    assert main.main(words(folder, "--socket", str(folder / "socket"))) == 4
    assert f"{folder / missing}: No such file or directory" in capsys.readouterr().err


def test_it_takes_a_receipt_and_ends_with_0(folder: Path) -> None:
    path = folder / "socket"
    with subprocess.Popen(
        [sys.executable, "-m", "resolver", *words(folder, "--socket", str(path))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "receiving from 1 host\n"
        data = statement.sign({"kind": "receipt", "host": "one", "list": "demo", "serial": 1, "generation": 1}, KEY)
        connection = http.client.HTTPConnection("receive")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(path))
        connection.request("POST", "/receipts", data)
        assert connection.getresponse().status == 204
        connection.close()
        process.send_signal(signal.SIGTERM)
        said, errors = process.communicate(timeout=60)
    assert (process.returncode, said, errors) == (0, "stopped: 1 statement accepted\n", "")
    assert (folder / "in/one-demo-1-1.json").read_bytes() == data
