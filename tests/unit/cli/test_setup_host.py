"""What `setup` makes on a host: owners and modes, nothing written over, and what is in the way of a start."""

import grp
import os
import pwd
import socket
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest

from resolver.cli import setup_file, setup_host, setup_questions
from resolver.cli.setup_host import Made
from resolver.config import explained
from resolver.config.config import Config, State

ME = pwd.getpwuid(os.getuid()).pw_name
MINE = grp.getgrgid(os.getgid()).gr_name
ROOT = (Path("/etc/blocklist-resolver/root.json"), b"{}")


def loaded(**answers: Any) -> Config:
    return setup_questions.checked({**setup_questions.STAND_INS, **answers})


def planned(config: Config, *, root: tuple[Path, bytes] = ROOT, credentials: bool = False) -> dict[str, Made]:
    file = Path("/etc/blocklist-resolver/resolver.toml")
    made = setup_host.plan(setup_host.Wanted(file, "text", config, root, credentials))
    return {str(one.path): one for one in made}


def rights(one: Made) -> tuple[str, int, str, str]:
    return ("folder" if one.data is None else "file", one.mode, one.owner, one.group)


def test_a_plain_host_gets_configuration_key_and_state_folder() -> None:
    made = planned(loaded())
    assert {path: rights(one) for path, one in made.items()} == {
        "/etc/blocklist-resolver": ("folder", 0o755, "root", "root"),
        "/var/lib/blocklist-resolver": ("folder", 0o700, "blocklist-resolver", "blocklist-resolver"),
        "/etc/blocklist-resolver/root.json": ("file", 0o644, "root", "root"),
        "/etc/blocklist-resolver/resolver.toml": ("file", 0o640, "root", "blocklist"),
    }
    assert str(made["/etc/blocklist-resolver/resolver.toml"]) == (
        "file /etc/blocklist-resolver/resolver.toml  0640 root:blocklist"
    )
    assert list(made)[-1] == "/etc/blocklist-resolver/resolver.toml"


def test_folders_outside_the_state_folder_are_opened_by_a_drop_in() -> None:
    fleet = {"fleet.publish": "/srv/fleet", "fleet.receipts": "/srv/receipts", "fleet.nodes": "/etc/nodes"}
    made = planned(loaded(**fleet, **{"list.source.receipt": "/srv/receipts"}))
    assert rights(made["/srv/fleet"]) == ("folder", 0o2750, "blocklist-resolver", "blocklist")
    assert rights(made["/srv/receipts"]) == ("folder", 0o2770, "blocklist-resolver", "blocklist")
    assert rights(made["/etc/nodes"]) == ("folder", 0o755, "root", "root")
    said = made["/etc/systemd/system/blocklist-resolver.service.d/folders.conf"].data
    assert said is not None
    assert said.decode().endswith("[Service]\nReadWritePaths=/srv/fleet /srv/receipts\n")
    inside = planned(loaded(**{"list.source.receipt": "/var/lib/blocklist-resolver/out"}))
    assert not any(path.endswith(".conf") for path in inside)


def test_keys_of_the_credential_store_have_the_octets_that_the_unit_wants() -> None:
    made = planned(loaded(), credentials=True)
    assert rights(made["/etc/credstore"]) == ("folder", 0o700, "root", "root")
    for name, octets in (("digest", 16), ("seal", 32)):
        one = made[f"/etc/credstore/blocklist-resolver.{name}.key"]
        assert rights(one) == ("file", 0o400, "root", "root")
        assert one.stays
        assert one.data is not None
        assert len(one.data) == octets
    unit = (Path(__file__).parents[3] / "deploy/systemd/blocklist-resolver.service").read_text()
    for name in setup_host.KEYS:
        assert f":{name}\n" in unit


def test_the_secret_of_a_zone_is_not_everybodys() -> None:
    zone = loaded(
        **{"list.source.kind": "zone", "list.source.url": "dns://192.0.2.7:53/rpz.example", "list.hard_limit": "7d"}
    )
    made = planned(zone, root=(Path("/etc/keys/tsig.key"), b"secret"))
    assert rights(made["/etc/keys/tsig.key"]) == ("file", 0o640, "root", "blocklist")
    assert rights(made["/etc/keys"]) == ("folder", 0o755, "root", "root")


def owned(folder: Path) -> list[Made]:
    return [
        Made(folder / "state", 0o2770, ME, MINE),
        Made(folder / "key", 0o400, ME, MINE, b"new", stays=True),
        Made(folder / "resolver.toml", 0o640, ME, MINE, b"text"),
    ]


def test_what_is_there_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "resolver.toml").write_bytes(b"mine")
    (tmp_path / "key").write_bytes(b"old")
    (tmp_path / "state").mkdir(mode=0o700)
    assert setup_host.in_the_way(owned(tmp_path), None) == [tmp_path / "resolver.toml"]
    assert setup_host.make(owned(tmp_path), None) == []
    assert (tmp_path / "resolver.toml").read_bytes() == b"mine"
    assert (tmp_path / "key").read_bytes() == b"old"
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    (tmp_path / "resolver.toml").write_bytes(b"text")
    assert setup_host.in_the_way(owned(tmp_path), None) == []
    (tmp_path / "resolver.toml").unlink()
    (tmp_path / "resolver.toml").symlink_to("nowhere")
    assert setup_host.in_the_way(owned(tmp_path), None) == [tmp_path / "resolver.toml"]


def test_the_file_as_a_package_installs_it_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "resolver.toml"
    file.write_text(explained.text())
    file.chmod(0o600)
    assert setup_host.in_the_way(owned(tmp_path), None) == []
    assert file in setup_host.make(owned(tmp_path), None)
    assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (b"text", 0o640)
    file.write_text(explained.text() + "\n")
    assert setup_host.in_the_way(owned(tmp_path), None) == [file]


def test_files_and_folders_are_made_with_their_modes(tmp_path: Path) -> None:
    assert setup_host.make(owned(tmp_path), None) == [tmp_path / "key", tmp_path / "resolver.toml"]
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"state": 0o2770, "key": 0o400, "resolver.toml": 0o640}


def test_below_another_root_nothing_of_this_host_is_touched(tmp_path: Path) -> None:
    made = [Made(Path("/etc/none"), 0o755, "nobody-here", "nobody-here"), Made(Path("/etc/none/a"), 0o600, data=b"a")]
    assert setup_host.make(made, tmp_path) == [tmp_path / "etc/none/a"]
    assert setup_host.in_the_way(made, tmp_path) == []
    assert setup_host.below(None, Path("/etc/none")) == Path("/etc/none")
    assert not Path("/etc/none").exists()


def test_missing_accounts_and_groups_are_named_once() -> None:
    made = [Made(Path("/a"), 0o755, "nobody-here", "nogroup-here"), Made(Path("/b"), 0o755, "nobody-here", MINE)]
    assert setup_host.accounts_missing(made) == ["account nobody-here", "group nogroup-here"]
    assert setup_host.accounts_missing(owned(Path("/"))) == []


def test_a_file_that_the_account_cannot_read_is_named(tmp_path: Path) -> None:
    root = tmp_path / "root.json"
    config = loaded(**{"list.source.root": str(root)})
    (line,) = setup_host.unreadable(config, ME)
    assert line == f"root: {root} cannot be read by {ME}: give it to that account, or to its group"
    root.write_text("{}")
    assert setup_host.unreadable(config, ME) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look as another account")
def test_root_looks_as_the_account(tmp_path: Path) -> None:
    root = tmp_path / "root.json"
    root.write_text("{}")
    root.chmod(0o600)
    assert len(setup_host.unreadable(loaded(**{"list.source.root": str(root)}), "nobody")) == 1


def test_a_busy_port_is_named_with_what_shows_who_has_it() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("127.0.0.1", 0))
        port = datagrams.getsockname()[1]
        listen = {"listen.dns": [f"127.0.0.1:{port}", "192.0.2.53:53"], "metrics.listen": "[::1]:0"}
        lines = setup_host.busy(loaded(**listen, **{"page.listen": []}))
    said = f"listen.dns: 127.0.0.1:{port} (UDP): Address already in use; ss -lnptu shows which program has it"
    assert lines == [said]


def test_check_config_runs_in_a_process_of_the_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "resolver.toml"
    file.write_text(setup_file.text(setup_questions.STAND_INS).replace("#socket = ", "socket = "))
    seen: dict[str, Any] = {}

    class Done:
        returncode, stdout = 0, "ok"

    def run(command: list[str], **how: Any) -> Done:
        seen.update(how, command=command)
        return Done()

    monkeypatch.setattr(setup_host.subprocess, "run", run)
    assert setup_host.check_config(file, ME) == (0, "ok")
    assert seen["command"][1:] == ["-m", "resolver", "check-config", str(file)]
    assert (seen["user"], seen["group"]) == (os.getuid(), pwd.getpwnam(ME).pw_gid)
    assert set(seen["env"]) == {"PATH", "LANG"}

    def fails(command: list[str], **how: Any) -> Done:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(setup_host.subprocess, "run", fails)
    status, said = setup_host.check_config(file, ME)
    assert status == 1
    assert f"{ME} cannot run " in said


def test_systemd_reads_its_units_again_only_where_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(setup_host.subprocess, "run", lambda command, **_: ran.append(command))
    monkeypatch.setattr(setup_host, "SYSTEMD", tmp_path / "absent")
    setup_host.reloaded()
    monkeypatch.setattr(setup_host, "SYSTEMD", tmp_path)
    setup_host.reloaded()
    assert ran == [["/usr/bin/systemctl", "daemon-reload"]]


def test_the_key_of_this_host_is_made_once(tmp_path: Path) -> None:
    config = msgspec.structs.replace(loaded(), state=State(directory=str(tmp_path)))
    first, second = setup_host.public_key(config, ME), setup_host.public_key(config, ME)
    assert first == second
    assert first.startswith(b"-----BEGIN PUBLIC KEY-----\n")
    assert (tmp_path / "host.key").stat().st_mode & 0o777 == 0o600
