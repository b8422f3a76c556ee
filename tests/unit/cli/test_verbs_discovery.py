"""`discovery`: what clients have to be told, and what they would say of the certificate."""

import datetime
import ipaddress
import re
from pathlib import Path
from typing import Any

import pytest
import trustme

from resolver.cli.main import main
from resolver.config import designated
from resolver.config.config import load
from tests.journeys.processes import list_of, toml

NAME = "dns.isp.example"
PAGE = {"addresses": ["192.0.2.1"], "operator": "o", "contact": "c", "authority": "a", "law": "l"}


def configured(folder: Path, *names: str, **edge: Any) -> Path:
    """A configuration with an edge, and a certificate for these names."""
    both = trustme.CA().issue_cert(*(names or (NAME,))).private_key_and_cert_chain_pem.bytes()
    (folder / "both.pem").write_bytes(both)
    said = {
        "socket": "/run/edge", "name": NAME, "tls": ["192.0.2.53:853", "[2001:db8::53]:853"],
        "https": ["192.0.2.53:443"], "certificate": str(folder / "both.pem"), "key": "/k", **edge,
    }  # fmt: skip
    path = folder / "resolver.toml"
    listen = {"dns": ["192.0.2.53:53", "0.0.0.0:5300"]}
    path.write_text(toml({"page": PAGE, "edge": said, "listen": listen}, [list_of(Path("/srv/authority"))]))
    return path


def test_every_text_has_the_octets_of_the_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = configured(tmp_path, NAME, "192.0.2.53")
    assert main(["discovery", "--config", str(path)]) == 0
    said = capsys.readouterr().out
    edge = load(path).edge
    four, [six] = designated.option_dhcpv4(edge), designated.options_dhcpv6(edge)
    assert said.splitlines()[0] == f"{NAME} offers DNS over TLS, DNS over HTTPS"
    assert f"  2 {NAME}. alpn=h2 ipv4hint=192.0.2.53 dohpath=/dns-query{{?dns}}\n" in said
    assert "\n".join(f"  {line}" for line in designated.zone_lines(edge)) in said
    assert f'{{"code": 162, "space": "dhcp4", "csv-format": false, "data": "{four.hex()}"}}' in said
    assert f"dhcp-option=162,{four.hex(':')}\n" in said
    assert f"option dnr code 162 = string; option dnr {four.hex(':')};\n" in said
    assert f"option dhcp6.dnr code 144 = string; option dhcp6.dnr {six.hex(':')};\n" in said
    assert "one option of a code" not in said
    assert f"dhcp-option=option6:144,{six.hex(':')}\n" in said
    [advertised] = designated.options_ra(edge)
    assert f"custom option type 144 value hex:{advertised[2:].hex()};" in said
    assert said.endswith(f"the certificate\n  is for {NAME} and for every address of listen.dns\n")
    assert "fault" not in said


@pytest.mark.parametrize(
    ("names", "status", "line"),
    [
        ((NAME,), 0, "it is not for 192.0.2.53 of listen.dns: clients that know the resolver by this address"),
        (("*.isp.example", "192.0.2.53"), 0, "is for dns.isp.example and for every address"),
        (("*.example", "192.0.2.53"), 1, "fault: it is not for dns.isp.example"),
        (("192.0.2.53",), 1, "fault: it is not for dns.isp.example"),
    ],
)
def test_what_a_client_would_say_of_the_certificate(
    names: tuple[str, ...], status: int, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["discovery", "--config", str(configured(tmp_path, *names))]) == status
    assert line in capsys.readouterr().out


def test_a_certificate_that_is_none_or_at_its_end_is_a_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = configured(tmp_path)
    ended = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    trustme.CA().issue_cert(NAME, not_after=ended).private_key_and_cert_chain_pem.write_to_path(
        str(tmp_path / "both.pem")
    )
    assert main(["discovery", "--config", str(path)]) == 1
    assert "fault: it ended 2026-01-01T00:00:00Z" in capsys.readouterr().out
    (tmp_path / "both.pem").write_text("no certificate")
    assert main(["discovery", "--config", str(path)]) == 1
    assert "fault: " in capsys.readouterr().out
    (tmp_path / "both.pem").unlink()
    assert main(["discovery", "--config", str(path)]) == 1
    assert re.search("fault: .*: No such file or directory", capsys.readouterr().out)


def test_without_an_edge_there_is_nothing_to_find(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "resolver.toml"
    path.write_text(toml({"page": PAGE}, [list_of(Path("/srv/authority"))]))
    assert main(["discovery", "--config", str(path)]) == 2
    assert "[edge] offers nothing" in capsys.readouterr().err


def test_what_a_program_cannot_send_is_said_and_not_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hosts = [f"192.0.2.{number}" for number in range(53, 115)]
    path = configured(tmp_path, tls=[f"{one}:853" for one in hosts] + ["[2001:db8::53]:853", "[2001:db8::54]:8853"])
    assert main(["discovery", "--config", str(path)]) == 0
    said, edge = capsys.readouterr().out, load(path).edge
    four, six = designated.option_dhcpv4(edge), designated.options_dhcpv6(edge)
    assert len(four) == 333
    assert len(six) == 2
    assert f"dnsmasq  takes 255 octets, and these are {len(four)}" in said
    assert "dhcp-option=162" not in said
    assert "the first, and not the 1 other." in said
    assert (said.count(six[0].hex(":")), said.count(six[1].hex(":")), said.count(six[1].hex())) == (2, 0, 1)


def test_the_texts_are_whole_without_a_named_address(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = configured(tmp_path, NAME, "192.0.2.53", tls=["0.0.0.0:853"], https=[])
    assert main(["discovery", "--config", str(path)]) == 0
    said = capsys.readouterr().out
    assert "hint" not in said
    assert designated.option_dhcpv4(load(path).edge).hex() in said
    assert ipaddress.ip_address("192.0.2.53").packed.hex() not in said.partition("the certificate")[0]
