"""The verb `discovery`: how clients find the encrypted transports of [edge], and what DHCP and routers have to send.

Rules:
- What is printed is made of the configuration alone (`config.designated`): what the service answers, and the octets
  that DHCP servers and routers have to send.
- The certificate is looked at as a client would: its names, the addresses of `listen.dns`, and its end. A fault is a
  line that begins with "fault:", and exit status 1; nothing is connected to.
"""

import argparse
import ipaddress
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from resolver.cli.terminal import DONE, FAILED, UsageError, add_config
from resolver.config.values import many, utc_text

if TYPE_CHECKING:
    from cryptography.x509 import SubjectAlternativeName

    from resolver.config.config import Config
    from resolver.config.edge import Edge

HELP: Final = "how clients find the encrypted transports of [edge]: DDR, DNR, and whether the certificate fits"
_OFFERED: Final = {"dot": "DNS over TLS", "h2": "DNS over HTTPS", "doq": "DNS over QUIC", "h3": "DNS over HTTP/3"}


def add_verbs(verbs: "argparse._SubParsersAction[Any]") -> None:
    """Add `discovery`."""
    parser = verbs.add_parser("discovery", help=HELP)
    add_config(parser)
    parser.set_defaults(verb=_discovery)


def _discovery(arguments: argparse.Namespace) -> int:
    from resolver.config import config, designated

    loaded = config.load(arguments.config)
    edge = loaded.edge
    if not designated.designated(edge):
        raise UsageError(f"{arguments.config}: [edge] offers nothing: set edge.socket, edge.name and an address")
    print("\n".join(text(edge)))
    faults = list(_faults_of_certificate(loaded))
    print("\nthe certificate")
    for line in faults or [f"  is for {edge.name} and for every address of listen.dns"]:
        print(line)
    return FAILED if any(line.startswith("fault:") for line in faults) else DONE


def text(edge: "Edge") -> Iterator[str]:
    """Yield the lines of what is offered, and of what has to be set where."""
    from resolver.config import designated

    found = designated.designated(edge)
    yield f"{edge.name} offers {', '.join(dict.fromkeys(_OFFERED[alpn] for one in found for alpn in one.alpn))}"
    yield ""
    yield "this service answers (DDR, RFC 9462): _dns.resolver.arpa SVCB"
    for one in found:
        yield f"  {one.priority} {edge.name}. {one.words(hints=True)}"
    yield ""
    yield f"for the public zone of {edge.name}, for clients that know its name (RFC 9462 5)"
    yield from (f"  {line}" for line in designated.zone_lines(edge))
    yield ""
    yield from _dhcpv4(edge)
    yield ""
    yield from _dhcpv6(edge)
    yield ""
    yield f"for router advertisements (DNR, RFC 9463 6), for hosts to keep {designated.LIFETIME_S} s"
    for option in designated.options_ra(edge):
        yield f"  octets   {option.hex()}"
        yield f"  BIRD     custom option type {designated.OPTION_RA} value hex:{option[2:].hex()};"


def _dhcpv4(edge: "Edge") -> Iterator[str]:
    from resolver.config import designated

    data, code = designated.option_dhcpv4(edge), designated.OPTION_DHCPV4
    yield f"for DHCPv4 (DNR, RFC 9463 5): option {code}"
    yield f"  octets   {data.hex()}"
    yield f"  Kea      {_kea(code, 'dhcp4', data)}"
    if len(data) <= designated.OCTETS_DHCPV4:
        yield f"  dnsmasq  dhcp-option={code},{data.hex(':')}"
    else:
        most = designated.OCTETS_DHCPV4
        yield f"  dnsmasq  takes {most} octets, and these are {len(data)}: name fewer addresses and ports in [edge]"
    yield f"  dhcpd    option dnr code {code} = string; option dnr {data.hex(':')};"


def _dhcpv6(edge: "Edge") -> Iterator[str]:
    from resolver.config import designated

    every, code = designated.options_dhcpv6(edge), designated.OPTION_DHCPV6
    yield f"for DHCPv6 (DNR, RFC 9463 4): option {code}"
    yield from (f"  octets   {data.hex()}" for data in every)
    if every[1:]:
        left = many(len(every) - 1, "other")
        yield f"  These programs send one option of a code: the first, and not the {left}. With the same addresses and"
        yield "  the usual ports for all transports in [edge] there is one."
    yield f"  Kea      {_kea(code, 'dhcp6', every[0])}"
    yield f"  dnsmasq  dhcp-option=option6:{code},{every[0].hex(':')}"
    yield f"  dhcpd    option dhcp6.dnr code {code} = string; option dhcp6.dnr {every[0].hex(':')};"


def _kea(code: int, space: str, data: bytes) -> str:
    return f'{{"code": {code}, "space": "{space}", "csv-format": false, "data": "{data.hex()}"}}'


def _faults_of_certificate(loaded: "Config") -> Iterator[str]:
    """Yield what a client would object to in the certificate."""
    from cryptography import x509

    edge = loaded.edge
    try:
        [certificate, *_] = x509.load_pem_x509_certificates(Path(edge.certificate).read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except OSError as error:
        yield f"fault: {edge.certificate}: {error.strerror}: it cannot be looked at"
        return
    except (ValueError, x509.ExtensionNotFound):
        yield f"fault: {edge.certificate}: no certificate with a subjectAltName: clients verify nothing else"
        return
    until = certificate.not_valid_after_utc.timestamp()
    if until <= time.time():
        yield f"fault: it ended {utc_text(until)}"
    if not _names(names, edge.name):
        yield f"fault: it is not for {edge.name}: no client accepts it"
    missing = [str(one) for one in _of_listen(loaded) if one not in names.get_values_for_type(x509.IPAddress)]
    if missing:
        yield (
            f"  it is not for {', '.join(missing)} of listen.dns: clients that know the resolver by this address do "
            "not verify what it designates (RFC 9462 4.2), and go on without encryption"
        )


def _names(names: "SubjectAlternativeName", name: str) -> bool:
    from cryptography import x509

    _, _, parent = name.partition(".")
    return any(one.lower() in (name, f"*.{parent}") for one in names.get_values_for_type(x509.DNSName))


def _of_listen(loaded: "Config") -> "list[ipaddress.IPv4Address | ipaddress.IPv6Address]":
    from resolver.config import designated

    v4, v6 = designated.usable(loaded.listen.dns)
    return [ipaddress.ip_address(one) for one in (*v4, *v6)]
