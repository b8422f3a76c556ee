"""Field cases that need a configuration, an order or a clock of their own: what is played, and what is seen.

`test_field_scenes.py` plays each; what it sees has to be `now`, word for word.
"""

from typing import Final

from tests.journeys.field.rows import Scene

SCENES: Final = (
    Scene(
        case="1-peers",
        source="TechnitiumSoftware/DnsServer#1014; NLnetLabs/unbound#1130; pi-hole/FTL#2981",
        comes="real Unbound and BIND that validate behind us: names below `=name`, an exception and a release",
        before="SERVFAIL at both",
        now="all validate; a listed name is the page in an unsigned zone, else SERVFAIL",
        test="peers/test_validator_behind.py",
    ),
    Scene(
        case="2",
        source="coredns/coredns#7184; PowerDNS/pdns#4233",
        comes="the only upstream knows inside names alone: 60 outside names are SERVFAIL, then 200 inside names",
        before="taken out; 168 of 200 SERVFAIL",
        now="200 of 200 answered; up 1; never taken out",
        test="test_an_upstream_that_answers_is_up",
    ),
    Scene(
        case="2b",
        source="coredns/coredns#6999",
        comes="the only upstream falls silent, then answers again",
        before="ready all the time",
        now="not ready, upstream_answering 0; then ready, upstream_answering 1",
        test="test_nobody_answers_is_seen",
    ),
    Scene(
        case="2c",
        source="neighbour of 2",
        comes="the only upstream says REFUSED to 60 names, then answers",
        before="20 of 20 answered",
        now="20 of 20 answered; up 1; never taken out",
        test="test_an_upstream_that_refuses_is_up",
    ),
    Scene(
        case="3",
        source="NLnetLabs/unbound#837; systemd/systemd#3405; hickory-dns/hickory-dns#3764; MagicStack/uvloop#539",
        comes="an upstream and a listener at fe80::…%interface, over UDP and TCP",
        before="every query SERVFAIL, EDE 23; as listener no start",
        now="by UDP 198.51.100.7; by TCP 800 PTR; asked at fe80::54 198.51.100.7",
        test="test_link_local_addresses",
    ),
    Scene(
        case="8",
        source="coredns/coredns#7353, #8070; TechnitiumSoftware/DnsServer#918",
        comes="40 kept names whose TTL is over, and the only upstream is silent and known to be out",
        before="each waits 1.8 s",
        now="40 of 40 stale; half of them within 0.9 s",
        test="test_stale_at_once_where_nobody_is_up",
    ),
    Scene(
        case="9",
        source="coredns/coredns#6163, #8205; TechnitiumSoftware/DnsServer#1643",
        comes="an answer after 2.5 s, the limit is 2 s",
        before="SERVFAIL, and the late answer is thrown away",
        now="SERVFAIL; asked again 198.51.100.7; upstream not asked again",
        test="test_a_late_answer_is_kept",
    ),
    Scene(
        case="9b",
        source="pi-hole/FTL#3099",
        comes="answers after 1.2 s: how often the one server is asked in the first 0.4 s",
        before="3 times",
        now="at most twice for each of 10 names",
        test="test_a_slow_server_is_not_flooded",
    ),
    Scene(
        case="14",
        source="TechnitiumSoftware/DnsServer#1573; NLnetLabs/unbound#1402; 0xERR0R/blocky#79",
        comes="`[[upstream.zone]]`: inside names to the inside server, the longest zone wins, DS to the parent's",
        before="missing: 199 of 200 inside names NXDOMAIN",
        now="200 of 200 inside names; longest 198.51.100.3; DS outside; outside 198.51.100.1",
        test="test_inside_zones_have_servers_of_their_own",
    ),
    Scene(
        case="14b",
        source="coredns/coredns#6449; nextdns/nextdns#305",
        comes='`order = "listed"`: the second server is a reserve',
        before="missing",
        now="first 40, second 0; the first is gone: 20 of 20 answered",
        test="test_listed_order",
    ),
    Scene(
        case="15",
        source="AdguardTeam/AdGuardHome#5049; pi-hole/FTL#737; PowerDNS/pdns#2521; NLnetLabs/unbound#215",
        comes="five kept A and five AAAA, asked for with 20 ids",
        before="the same first each time",
        now="A and AAAA: each of 5 is first for some; always all 5; rotate = false: 1 is first",
        test="test_kept_addresses_rotate",
    ),
    Scene(
        case="16",
        source="AdguardTeam/AdGuardHome#5117; 0xERR0R/blocky#1698",
        comes="check-config of a page without an IPv6 address",
        before="ok",
        now="exit 0; says IPv6",
        test="test_a_page_without_ipv6_is_said",
    ),
    Scene(
        case="19",
        source="angristan/local-dns-resolver#8",
        comes="letters' case is drawn, the upstream lowers it by UDP",
        before="by TCP the right answer",
        now="198.51.100.7, by TCP",
        test="test_an_upstream_that_lowers_letters",
    ),
    Scene(
        case="21",
        source="oneoffdallas/dohservers#20; AdguardTeam/AdGuardDNS#451",
        comes="the canary names of Firefox and of private relay, with `announce` and without",
        before="missing: forwarded",
        now="announced: NXDOMAIN, upstream asked 0 times; else: 198.51.100.7, upstream asked 3 times",
        test="test_bypass_is_announced",
    ),
    Scene(
        case="23",
        source="systemd/systemd#10673; AdguardTeam/AdGuardHome#7292; AdguardTeam/dnsproxy#354",
        comes="one of two upstreams is silent, refuses, fails, is cut short or is gone",
        before="8 of 8 answered in each",
        now="8 of 8 answered in each of 5",
        test="test_one_of_two_fails",
    ),
    Scene(
        case="24",
        source="systemd/systemd#11332; coredns/coredns#3659; miekg/dns#1314",
        comes="300 queries on one connection, a third slow, then half closed",
        before="300 answers, none waits behind a slow one",
        now="300 answers; 200 fast ones first",
        test="test_a_pipeline_half_closed",
    ),
    Scene(
        case="F3-next",
        source="neighbour of F3",
        comes="one of two upstreams says an A of three octets to each name",
        before="passed on",
        now="20 of 20 from the other",
        test="test_what_cannot_be_read_is_asked_of_the_next",
    ),
    Scene(
        case="13k",
        source="AdguardTeam/AdGuardHome#1260",
        comes='`forward_zones = ["local"]`: a site with Active Directory on .local',
        before="only home.arpa and reverse zones",
        now="local 198.51.100.7; alt NXDOMAIN",
        test="test_local_can_be_forwarded",
    ),
)


def now(case: str) -> str:
    """What has to be seen in a scene."""
    (one,) = (scene for scene in SCENES if scene.case == case)
    return one.now
