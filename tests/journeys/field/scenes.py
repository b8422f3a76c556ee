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
        case="2c",
        source="neighbour of 2",
        comes="the only upstream says REFUSED to 60 names, then answers",
        before="20 of 20 answered",
        now="20 of 20 answered; up 1; never taken out",
        test="test_an_upstream_that_refuses_is_up",
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
        case="15",
        source="AdguardTeam/AdGuardHome#5049; pi-hole/FTL#737; PowerDNS/pdns#2521; NLnetLabs/unbound#215",
        comes="five kept A and five AAAA, asked for with 20 ids",
        before="the same first each time",
        now="A and AAAA: each of 5 is first for some; always all 5; rotate = false: 1 is first",
        test="test_kept_addresses_rotate",
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
)


def now(case: str) -> str:
    """What has to be seen in a scene."""
    (one,) = (scene for scene in SCENES if scene.case == case)
    return one.now
