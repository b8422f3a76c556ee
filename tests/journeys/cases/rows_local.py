"""Rows of the table of cases: names that are answered here and not forwarded."""

from typing import Final

from tests.journeys.cases.packets import ONCE, opt, query
from tests.journeys.cases.rows_query import EMPTY, HINFO, row

SOA: Final = "NODATA, AA; authority: SOA of {} (10800 s)"
GONE: Final = "NXDOMAIN, AA; authority: SOA of {} (10800 s)"
LOOP_V4: Final = "1.0.0.127.in-addr.arpa"
LOOP_V6: Final = ".".join("1" + "0" * 31) + ".ip6.arpa"
PTR: Final = "NOERROR, AA; PTR localhost. (10800 s)"

RFC_6303: Final = (
    *("10", *(f"{octet}.172" for octet in range(16, 32)), "168.192"),
    *("0", "127", "254.169", "2.0.192", "100.51.198", "113.0.203", "255.255.255.255"),
)
RFC_6303_V6: Final = (
    *(".".join("0" * 32), LOOP_V6.removesuffix(".ip6.arpa")),
    *("d.f", "8.e.f", "9.e.f", "a.e.f", "b.e.f", "8.b.d.0.1.0.0.2"),
)
RFC_7793: Final = tuple(f"{octet}.100" for octet in range(64, 128))
REVERSE: Final = (
    *(f"{zone}.in-addr.arpa" for zone in RFC_6303),
    *(f"{zone}.ip6.arpa" for zone in RFC_6303_V6),
    *(f"{zone}.in-addr.arpa" for zone in RFC_7793),
)
EMPTY_ZONES: Final = ("home.arpa", "service.arpa", *REVERSE)
NOT_THE_HOST: Final = tuple(zone for zone in EMPTY_ZONES if zone != LOOP_V6)
WHICH: Final = f"each of the {len(EMPTY_ZONES)} zones of RFC 6303, RFC 7793, home.arpa and service.arpa"
SAYS: Final = "6303 3, 7793 3, 8375 4, 9665 10"

ZONES: Final = (
    row("zone-soa", f"SOA of {WHICH}", SAYS, "NOERROR, AA; SOA of ZONE. (10800 s)",
        *(query("zone-soa", "SOA", name=zone) for zone in EMPTY_ZONES), zones=EMPTY_ZONES),
    row("zone-ns", f"NS of {WHICH}", SAYS, "NOERROR, AA; NS ZONE. (10800 s)",
        *(query("zone-ns", "NS", name=zone) for zone in EMPTY_ZONES), zones=EMPTY_ZONES),
    row("zone-apex", f"A of {WHICH}", SAYS, SOA.format("ZONE."),
        *(query("zone-apex", "A", name=zone) for zone in EMPTY_ZONES), zones=EMPTY_ZONES),
    row("zone-below", f"PTR below {WHICH}, in odd case and with EDNS", SAYS, GONE.format("ZONE.") + "; EDNS",
        *(query("zone-below", "PTR", opt(), name=f"7.Zz.{zone}".replace("arpa", "aRpA")) for zone in NOT_THE_HOST),
        zones=NOT_THE_HOST),
    row("zone-ds", f"DS of {WHICH}: their parent's to say", "8375 4, 4035 3.1.4.1", EMPTY,
        *(query("zone-ds", "DS", name=zone) for zone in EMPTY_ZONES), upstream=ONCE),
    row("zone-any", "ANY of such a zone and below it", "8482 4.1, 6303 3", "NOERROR, AA; SOA of ZONE. (10800 s)",
        query("zone-any", "ANY", name="10.in-addr.arpa"), zones=("10.in-addr.arpa",)),
    row("zone-do", "A of such a zone, DO=1: it is not signed", "6303 3, 3225 3", SOA.format("home.arpa.") + "; EDNS DO",
        query("zone-do", "A", opt(flags=0x8000), name="home.arpa")),
    row("zone-next", "names that only look like one of them", "6303 4", EMPTY,
        *(query("zone-next", "PTR", name=name) for name in (
            "1.0.0.11.in-addr.arpa", "1.15.172.in-addr.arpa", "1.32.172.in-addr.arpa", "1.63.100.in-addr.arpa",
            "1.128.100.in-addr.arpa", "1.169.192.in-addr.arpa", "x10.in-addr.arpa", "c.f.ip6.arpa", "in-addr.arpa",
            "ip6.arpa", "xhome.arpa", "ipv4only.arpa", "arpa")),
        upstream=ONCE),
)  # fmt: skip

HOSTS: Final = (
    row("localhost-a", "A of localhost and of a name below it", "6761 6.3", "NOERROR, AA; A 127.0.0.1 (10800 s)",
        query("localhost-a", name="localhost"), query("localhost-a", name="a.LocalHost")),
    row("localhost-aaaa", "AAAA of localhost and of a name below it", "6761 6.3", "NOERROR, AA; AAAA ::1 (10800 s)",
        query("localhost-aaaa", "AAAA", name="localhost"), query("localhost-aaaa", "AAAA", name="a.localhost")),
    row("localhost-other", "another type of localhost", "6761 6.3", SOA.format("localhost."),
        query("localhost-other", "MX", name="localhost"), query("localhost-other", "HTTPS", name="a.localhost")),
    row("loopback-v4", "PTR of 127.0.0.1", "6303 4.2, 6761 6.3", PTR, query("loopback-v4", "PTR", name=LOOP_V4)),
    row("loopback-v6", "PTR of ::1", "6303 4.3, 6761 6.3", PTR, query("loopback-v6", "PTR", name=LOOP_V6)),
    row("loopback-other", "another type there", "6303 3", SOA.format("127.in-addr.arpa."), query("loopback-other",
        "TXT", name=LOOP_V4)),
    row("loopback-above", "a name between that and its zone", "8020 2, 6303 3", SOA.format("127.in-addr.arpa."),
        query("loopback-above", "PTR", name="0.127.in-addr.arpa")),
    row("invalid", "a name below invalid", "6761 6.4", GONE.format("invalid."), query("invalid", name="www.invalid"),
        query("invalid", "ANY", name="a.b.invalid")),
    row("onion", "a name below onion", "7686 2", GONE.format("ZONE."), query("onion", name="www.onion"),
        query("onion", "AAAA", name="a.OnIoN"), zones=("onion", "OnIoN")),
    row("local", "a name below local", "6762 22.1", GONE.format("local."), query("local", name="printer.local"),
        query("local", "PTR", name="b._dns-sd._udp.local")),
    row("alt", "a name below alt", "9476 2", GONE.format("alt."), query("alt", name="x.alt"),
        query("alt", "ANY", name="a.b.alt")),
    row("special-apex", "invalid, onion, local and alt themselves", "6761 6.4, 7686 2, 6762 22.1, 9476 2",
        SOA.format("ZONE."),
        *(query("special-apex", name=name) for name in ("invalid", "onion", "local", "alt")),
        zones=("invalid", "onion", "local", "alt")),
    row("ddr", "_dns.resolver.arpa SVCB: there is no designated resolver", "9462 4",
        SOA.format("resolver.arpa."),
        query("ddr", "SVCB", name="_dns.resolver.arpa")),
    row("resolver-arpa", "any name below resolver.arpa, and other types", "9462 4 and 6.4", SOA.format("ZONE."),
        query("resolver-arpa", name="www.resolver.arpa"), query("resolver-arpa", "TXT", name="a.b.Resolver.Arpa"),
        query("resolver-arpa", "SVCB", name="x._dns.resolver.arpa"), query("resolver-arpa", "A",
        name="_dns.resolver.arpa"),
        zones=("resolver.arpa", "Resolver.Arpa", "resolver.arpa", "resolver.arpa")),
    row("resolver-arpa-apex", "resolver.arpa itself, DS too", "9462 4 and 6.4", SOA.format("resolver.arpa."),
        query("resolver-arpa-apex", name="resolver.arpa"), query("resolver-arpa-apex", "DS", name="resolver.arpa")),
    row("local-rd-0", "RD=0 for a name that is answered here: nothing is told of others", "6303 3, 1034 4.3.1",
        "NOERROR, AA; A 127.0.0.1 (10800 s)", query("local-rd-0", name="localhost", flags=0)),
    row("local-class", "class CH", "1035 3.2.4", "REFUSED", query("local-class", name="localhost", qclass=3)),
    row("local-cd-ad", "CD=1 and AD=1 for a name that is answered here: nothing was validated", "4035 3.2.2, 6840 5.8",
        "NXDOMAIN, AA, CD; authority: SOA of invalid. (10800 s)", query("local-cd-ad", name="x.invalid", flags=0x130)),
    row("any-arpa", "ANY of what only looks local", "8482 4.2", HINFO, query("any-arpa", "ANY",
        name="1.11.in-addr.arpa")),
)  # fmt: skip

ROWS: Final = (*ZONES, *HOSTS)
