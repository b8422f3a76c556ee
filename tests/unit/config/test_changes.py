"""Which keys a new configuration changes, and which of them wait for a restart."""

import pytest

from resolver.config.changes import changed, needing_restart
from resolver.config.config import Config, Edge, parse

FILE = """
[listen]
dns = ["127.0.0.1:5300"]
[upstream]
servers = ["192.0.2.53:53"]
[page]
addresses = ["192.0.2.1"]
[[list]]
id = "first"
demonstration = true
source = { kind = "tuf", url = "file:///srv/a", root = "/srv/root.json" }
[[list]]
id = "second"
demonstration = true
source = { kind = "tuf", url = "file:///srv/b", root = "/srv/root.json" }
"""


def with_change(old: str, new: str) -> tuple[str, ...]:
    """The keys that change when `old` becomes `new` in the file."""
    assert old in FILE
    return changed(parse(FILE, "old"), parse(FILE.replace(old, new, 1), "new"))


@pytest.mark.parametrize(
    ("old", "new", "keys"),
    [
        ('addresses = ["192.0.2.1"]', 'addresses = ["192.0.2.2", "2001:db8::2"]', ("page.addresses",)),
        ("[listen]", '[listen]\nallow = ["192.0.2.0/24"]', ("listen.allow",)),
        ("[listen]", '[listen]\nproxy_from = ["192.0.2.9/32"]', ("listen.proxy_from",)),
        ("[listen]", "[limits]\nqueries_per_second = 9\n[listen]", ("limits.queries_per_second",)),
        (
            "[listen]",
            "[limits]\nconnections = 9\nconnections_per_client = 3\n[listen]",
            ("limits.connections", "limits.connections_per_client"),
        ),
        ("[upstream]", '[upstream]\ntimeout = "3s"', ("upstream.timeout",)),
        ("[upstream]", "[upstream]\ncase_randomization = true", ("upstream.case_randomization",)),
        ("[upstream]", '[upstream]\nforward_zones = ["10.in-addr.arpa"]', ("upstream.forward_zones",)),
        ("[listen]", '[cache]\nstale = "0"\n[listen]', ("cache.stale",)),
        ("[listen]", '[bypass]\nannounce = ["firefox"]\n[listen]', ("bypass.announce",)),
        ("[listen]", "[limits]\ndistinct_blocked = 0\n[listen]", ("limits.distinct_blocked",)),
        ("[page]", '[page]\noperator = "Another"', ("page.operator",)),
        ("[listen]", "[count]\nsubscribers = 9\n[listen]", ("count.subscribers",)),
        ("[listen]", '[state]\nwithout_list = "forward"\n[listen]', ("state.without_list",)),
        (
            'id = "first"',
            'id = "first"\nanswer = "nxdomain"\nbasis = "contract"',
            ("list.first.basis", "list.first.answer"),
        ),
        ('id = "second"', 'id = "second"\nclients = ["192.0.2.0/24"]', ("list.second.clients",)),
        ('id = "first"', 'id = "third"', ("list.first", "list.third")),
        ('id = "first"', 'id = "first"\nexpire = "lift"', ("list.first.expire",)),
        ('id = "first"', 'id = "first"\nwithout_list = "forward"', ("list.first.without_list",)),
        ('id = "first"', 'id = "first"\nguard = { growth = 0.5 }', ("list.first.guard.growth",)),
        ("file:///srv/a", "file:///srv/c", ("list.first.source.url",)),
    ],
)
def test_what_can_change_while_serving(old: str, new: str, keys: tuple[str, ...]) -> None:
    assert with_change(old, new) == keys
    assert needing_restart(keys) == ()


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("5300", "5301", "listen.dns"),
        ("[listen]", '[listen]\nuser = "nobody"', "listen.user"),
        ("192.0.2.53:53", "192.0.2.54:53", "upstream.servers"),
        ("[upstream]", '[upstream]\norder = "listed"', "upstream.order"),
        ("[page]", '[[upstream.zone]]\nname = "corp.test"\nservers = ["192.0.2.55:53"]\n[page]', "upstream.zone"),
        ("[listen]", '[cache]\nsize = "1MiB"\n[listen]', "cache.size"),
        ("[page]", '[page]\nlisten = ["127.0.0.1:8081"]', "page.listen"),
        ("[listen]", '[metrics]\nlisten = "127.0.0.1:9154"\n[listen]', "metrics.listen"),
        ("[listen]", '[count]\npublish_every = "1s"\n[listen]', "count.publish_every"),
        ("[listen]", "[count]\nbatch = 1\n[listen]", "count.batch"),
        ("[listen]", '[count]\nregion = "X"\n[listen]', "count.region"),
        ("[listen]", '[state]\ndirectory = "/srv/state"\n[listen]', "state.directory"),
        ("[listen]", '[state]\nkeys = "/srv/keys"\n[listen]', "state.keys"),
        ("[listen]", '[control]\nsocket = "/run/other"\n[listen]', "control.socket"),
        ("[listen]", '[control]\ngroup = "other"\n[listen]', "control.group"),
        ("[listen]", '[edge]\nsocket = "/run/edge/queries"\n[listen]', "edge.socket"),
    ],
)
def test_what_only_a_restart_can_change(old: str, new: str, key: str) -> None:
    assert with_change(old, new) == (key,)
    assert needing_restart((key,)) == (key,)


def test_what_needs_a_restart_is_told_apart_from_what_does_not() -> None:
    keys = ("listen.allow", "cache.size", "list.first.answer", "list.first.demonstration", "list.first")
    assert needing_restart(keys) == ("cache.size", "list.first.demonstration")


def test_lists_come_go_and_move_while_serving() -> None:
    head, *lists = FILE.split("[[list]]")
    one, two = lists
    third = one.replace("first", "third")
    for others, keys in (
        ((two, one), ("list",)),
        ((one,), ("list.second",)),
        ((one, two, third), ("list.third",)),
        ((third, two), ("list.first", "list.third")),
        ((third, two, one), ("list", "list.third")),
    ):
        new = parse(head + "".join(f"[[list]]{text}" for text in others), "new")
        assert changed(parse(FILE, "old"), new) == keys
        assert needing_restart(keys) == ()


def test_no_change_is_none() -> None:
    assert with_change("[listen]", "# a remark\n[listen]") == ()


def test_every_key_of_the_configuration_can_be_told() -> None:
    """A key that is added is replaced while serving or named as fixed: whoever adds it decides."""
    config = parse(FILE, "resolver.toml")
    told = {
        f"{section}.{key}"
        for section in Config.__struct_fields__
        if section != "lists"
        for key in getattr(config, section).__struct_fields__
    }
    fixed = set(needing_restart(tuple(sorted(told))))
    replaced = {
        "listen.allow",
        "listen.proxy_from",
        *(f"upstream.{key}" for key in ("timeout", "case_randomization", "forward_zones")),
        *(f"cache.{key}" for key in ("stale", "rotate")),
        "bypass.announce",
        *(f"page.{key}" for key in ("addresses", "operator", "contact", "authority", "law", "appeal", "help")),
        *(f"page.{key}" for key in ("language", "leave", "flow_records", "error_text")),
        *(f"page.{key}" for key in ("structured_errors", "option_code", "incident", "structured_keys")),
        "count.subscribers",
        "state.without_list",
        "rehearsal.name",
        "rehearsal.like",
        "control.approvers",
        *(f"limits.{key}" for key in ("queries_per_second", "connections", "connections_per_client", "exempt")),
        "limits.distinct_blocked",
        "cookies.answer",
        "cookies.secrets",
        *(f"edge.{key}" for key in Edge.__struct_fields__ if key != "socket"),
    }
    assert told == fixed | replaced
