"""The configuration: defaults as promised, bounds at the limit and one past it, errors name the key."""

import ipaddress
import os
import re
import threading
import tomllib
from pathlib import Path

import msgspec
import pytest

from resolver.config import config
from resolver.config.config import Config, ConfigError, Endpoint, load, parse

TEXTS = {
    "operator": "Example ISP",
    "contact": "help@isp.example",
    "authority": "Example Court",
    "law": "Act 1",
}


def document(**changes: object) -> dict[str, object]:
    """A small valid configuration of a production list, as TOML reads it, with sections replaced."""
    source = {"kind": "tuf", "url": "file:///srv/authority", "root": "/srv/root.json"}
    one = {"id": "one", "expire": "keep", "source": source}
    return {"page": {"addresses": ["192.0.2.1"], **TEXTS}, "list": [one], **changes}


def listed(**changes: object) -> dict[str, object]:
    """The same with keys of its one list replaced."""
    whole = document()
    return {**whole, "list": [{**whole["list"][0], **changes}]}  # type: ignore[index]  # a list, as built above


def sourced(**changes: object) -> dict[str, object]:
    """The same with keys of that list's source replaced."""
    source = {"kind": "tuf", "url": "file:///srv/authority", "root": "/srv/root.json", **changes}
    return listed(source=source)


def toml(value: object) -> str:
    """`value` as a TOML value."""
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}" = {toml(inner)}' for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value).lower()


def read(whole: dict[str, object]) -> Config:
    return parse("".join(f"{key} = {toml(value)}\n" for key, value in whole.items()), "resolver.toml")


def fault(whole: dict[str, object]) -> str:
    with pytest.raises(ConfigError) as caught:
        read(whole)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_default_is_the_promised_one() -> None:
    loaded = read(document())
    v4, v6 = ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")
    assert loaded.listen.dns == (Endpoint("127.0.0.1", 5300), Endpoint("::1", 5300))
    assert loaded.listen.allow == (v4, v6)
    assert (loaded.upstream.servers, loaded.upstream.timeout) == ((), 2)
    assert loaded.cache.size == 64 * 2**20
    assert loaded.page.listen == (Endpoint("127.0.0.1", 8080),)
    assert loaded.metrics.listen == Endpoint("127.0.0.1", 9153)
    assert (loaded.count.publish_every, loaded.count.batch, loaded.count.subscribers) == (900, 10, 0)
    assert loaded.state.directory == "/var/lib/blocklist-resolver"
    assert (loaded.state.without_list, loaded.state.keys) == ("refuse", "")
    assert loaded.lists[0].without_list == ""
    assert (loaded.limits.queries_per_second, loaded.limits.exempt) == (200, (v4, v6))
    assert (loaded.limits.distinct_blocked, loaded.bypass.announce) == (50, ())


def test_every_default_of_a_list_is_the_promised_one() -> None:
    one = read(document()).lists[0]
    assert (one.basis, one.answer, one.demonstration, one.legal_reference) == ("statute", "page", False, "")
    assert (one.addresses, one.clients, one.exempt) == ((), (), ())
    assert one.hard_limit == 14 * 86400
    assert (one.source.poll, one.source.minimum_serial) == (900, 0)
    assert one.source.target == "one"
    assert (one.guard.growth, one.guard.shrink, one.guard.refused) == (0.2, 0.2, 0.05)
    assert one.guard.expect_entries == (1, 100_000)


def test_page_texts_carry_the_marker_until_the_operator_gives_them() -> None:
    loaded = read({**listed(demonstration=True), "page": {"addresses": ["192.0.2.1"]}})
    page = loaded.page
    assert {page.operator, page.contact, page.authority, page.law} == {config.MARKER}


@pytest.mark.parametrize(
    ("whole", "line"),
    [
        (document(listen={"dsn": []}), "resolver.toml: listen.dsn: unknown key"),
        (document(color=1), "resolver.toml: color: unknown key"),
        (listed(color=1), "resolver.toml: list[0].color: unknown key"),
        (sourced(color=1), "resolver.toml: list[0].source.color: unknown key"),
        (document(list=[]), "resolver.toml: list: Expected array of length >= 1"),
        (document(list=[{"id": "one"}]), "resolver.toml: list[0].source: required"),
        (listed(demonstration="yes"), "resolver.toml: list[0].demonstration: Expected bool, got str"),
    ],
)
def test_an_unknown_a_missing_and_a_mistyped_key_are_named(whole: dict[str, object], line: str) -> None:
    assert fault(whole) == line


BOUNDS = [
    ("upstream.timeout", lambda v: document(upstream={"timeout": v}), ["1s", "30s"], ["0s", "31s", "0"]),
    ("cache.size", lambda v: document(cache={"size": v}), ["1MiB", "64GiB"], ["1023KiB", "65GiB"]),
    (
        "count.publish_every",
        lambda v: document(count={"publish_every": v}),
        ["15m", "1d"],
        ["899s", "86401s"],
    ),
    ("count.batch", lambda v: document(count={"batch": v}), [10, 1_000_000], [9, 0, 1_000_001]),
    ("count.region", lambda v: document(count={"region": v}), ["UK", "a" * 32], ["a" * 33, "a b", "UK\\n"]),
    ("count.subscribers", lambda v: document(count={"subscribers": v}), [0, 10**10], [-1, 10**10 + 1]),
    (
        "limits.queries_per_second",
        lambda v: document(limits={"queries_per_second": v}),
        [1, 10**6],
        [0, 10**6 + 1],
    ),
    ("limits.distinct_blocked", lambda v: document(limits={"distinct_blocked": v}), [0, 10**6], [-1, 10**6 + 1]),
    (
        "bypass.announce",
        lambda v: document(bypass={"announce": v}),
        [[], ["firefox"], ["private-relay", "firefox"]],
        [["chrome"], "firefox"],
    ),
    (
        "upstream.forward_zones",
        lambda v: document(upstream={"forward_zones": [v]}),
        ["home.arpa", "service.arpa", "local", "alt", "_a.corp.local", "10.in-addr.arpa", "d.f.ip6.arpa"],
        ["", "arpa", "in-addr.arpa", "onion", "x.invalid", "localhost", "ipv4only.arpa", "xlocal", ".local", "Local"],
    ),
    ("state.directory", lambda v: document(state={"directory": v}), ["x"], [""]),
    ("state.without_list", lambda v: document(state={"without_list": v}), ["refuse", "forward"], ["pass"]),
    (
        "listen.dns",
        lambda v: document(listen={"dns": v}),
        [["127.0.0.1:0"], ["127.0.0.1:1"] * 64],
        [[], ["127.0.0.1:1"] * 65],
    ),
    ("list[0].id", lambda v: listed(id=v), ["a", "a" * 32, "0-9"], ["", "a" * 33, "A", "a_b", "a\\n"]),
    (
        "rehearsal.name",
        lambda v: {**listed(guard={"protected": ["www.isp.example", "isp.example"]}), "rehearsal": {"name": v}},
        ["", "block-test.isp.example", "a.b.isp.example"],
        ["isp.example", "www.isp.example", "x", "a..b.c", ".a.b.c", "A.isp.example", "a.isp.example."],
    ),
    ("rehearsal.like", lambda v: {**document(), "rehearsal": {"like": v}}, ["", "one"], ["two"]),
    ("list[0].basis", lambda v: listed(basis=v), ["statute", "contract"], ["law"]),
    ("list[0].answer", lambda v: listed(answer=v), ["page", "nodata", "nxdomain"], ["refused"]),
    ("list[0].expire", lambda v: listed(expire=v), ["keep", "lift"], ["never"]),
    ("list[0].hard_limit", lambda v: listed(hard_limit=v), ["1s", "366d"], ["0s", "367d"]),
    ("list[0].without_list", lambda v: listed(without_list=v), ["", "refuse", "forward"], ["pass", "servfail"]),
    ("list[0].legal_reference", lambda v: listed(legal_reference=v), ["a" * 200], ["a" * 201]),
    ("list[0].source.kind", lambda v: sourced(kind=v), ["tuf", "file", "image"], ["rsync"]),
    ("list[0].source.root", lambda v: sourced(root=v), ["r"], [""]),
    ("list[0].source.target", lambda v: sourced(target=v), ["t" * 64], ["t" * 65, "../t"]),
    ("list[0].source.poll", lambda v: sourced(poll=v), ["1m", "7d"], ["59s", "8d", "0"]),
    ("list[0].source.minimum_serial", lambda v: sourced(minimum_serial=v), [0, 2**63 - 1], [-1, 2**63]),
    ("list[0].guard.growth", lambda v: listed(guard={"growth": v}), [0, 100], [-0.1, 100.1]),
    ("list[0].guard.shrink", lambda v: listed(guard={"shrink": v}), [0, 1], [-0.1, 1.1]),
    ("list[0].guard.refused", lambda v: listed(guard={"refused": v}), [0, 1], [-0.1, 1.1]),
    ("list[0].guard.popular_share", lambda v: listed(guard={"popular_share": v}), [0, 1], [-0.1, 1.1]),
    (
        "list[0].guard.expect_entries",
        lambda v: listed(guard={"expect_entries": v}),
        [[1, 4_000_000]],
        [[2, 1], [1, 4_000_001], [0, 1], [1]],
    ),
]


@pytest.mark.parametrize(("key", "build", "good", "bad"), BOUNDS, ids=[row[0] for row in BOUNDS])
def test_each_bound_holds_at_the_limit_and_one_past_it(key, build, good, bad) -> None:  # type: ignore[no-untyped-def]  # a table's columns
    for value in good:
        assert read(build(value))
    for value in bad:
        assert fault(build(value)).startswith(f"resolver.toml: {key}"), value


def test_at_most_sixteen_lists() -> None:
    one = document()["list"][0]  # type: ignore[index]  # a list, as built above
    many = [{**one, "id": f"list-{number}"} for number in range(17)]
    assert len(read(document(list=many[:16])).lists) == 16
    assert fault(document(list=many)) == "resolver.toml: list: Expected array of length <= 16"


def test_two_lists_do_not_share_an_id() -> None:
    one = document()["list"][0]  # type: ignore[index]  # a list, as built above
    assert fault(document(list=[one, one])) == "resolver.toml: list[1].id: another list has this id"


def test_a_short_beat_a_small_batch_a_fast_poll_and_no_expire_are_for_demonstration_lists_only() -> None:
    source = {"kind": "tuf", "url": "file:///srv/authority", "root": "/srv/root.json", "poll": "1s"}
    shown = {"id": "shown", "demonstration": True, "source": source}
    loose = {"count": {"publish_every": "1s", "batch": 1}, "page": {"addresses": ["192.0.2.1"]}}
    assert read({**loose, "list": [shown]}).lists[0].expire is None
    real = document()["list"][0]  # type: ignore[index]  # a list, as built above
    mixed = fault({**loose, "list": [shown, real]})
    assert mixed.startswith("resolver.toml: count.publish_every: below 15m")
    assert fault(listed(expire="keep", demonstration=False) | {"page": {"addresses": ["192.0.2.1"]}}) == (
        "resolver.toml: page.operator: still holds REPLACE-ME: the page must name you before visitors see it"
    )
    without = {key: value for key, value in real.items() if key != "expire"}
    assert fault(document(list=[without])).startswith("resolver.toml: list[0].expire: required: what happens")


@pytest.mark.parametrize("name", ["operator", "contact", "authority", "law"])
def test_a_marker_left_anywhere_on_a_page_that_is_served_is_refused(name: str) -> None:
    page = {"addresses": ["192.0.2.1"], **TEXTS, name: "The REPLACE-ME Company"}
    assert fault(document(page=page)).startswith(f"resolver.toml: page.{name}: still holds REPLACE-ME")
    assert read(document(page={**page, "listen": []}))


def test_a_page_answer_needs_an_address() -> None:
    page = {"addresses": [], **TEXTS}
    assert fault(document(page=page)).startswith("resolver.toml: list[0].addresses: no address to answer with")
    assert read({**listed(addresses=["2001:db8::1"]), "page": page})
    assert read({**listed(answer="nodata"), "page": page})


@pytest.mark.parametrize(
    ("listen", "server", "ours"),
    [
        ("127.0.0.1:53", "127.0.0.1:53", True),
        ("127.0.0.1:53", "127.0.0.1:54", False),
        ("127.0.0.1:53", "192.0.2.53:53", False),
        ("[::1]:53", "[0:0::1]:53", True),
        ("0.0.0.0:53", "127.0.0.1:53", True),
        ("[::]:53", "127.0.0.1:53", True),
        ("0.0.0.0:53", "192.0.2.53:53", False),
    ],
)
def test_an_upstream_is_never_ourselves(listen: str, server: str, ours: bool) -> None:
    whole = document(listen={"dns": [listen]}, upstream={"servers": [server]})
    if ours:
        assert fault(whole).startswith("resolver.toml: upstream.servers[0]: is one of listen.dns")
    else:
        assert len(read(whole).upstream.servers) == 1


ZONE = {"name": "Corp.Test.", "servers": ["192.0.2.54:53", "[2001:db8::54]:53"]}
SERVERS = ["192.0.2.53:53", "192.0.2.54:53"]


def test_a_zone_has_servers_of_its_own() -> None:
    upstream = read(document(upstream={"servers": SERVERS, "zone": [ZONE], "order": "listed"})).upstream
    assert (upstream.order, [one.name for one in upstream.zone]) == ("listed", ["corp.test"])
    servers = ("192.0.2.53", "192.0.2.54", "2001:db8::54")
    assert upstream.every_server == tuple(Endpoint(host, 53) for host in servers), "each once"


def test_a_zone_that_is_answered_here_otherwise_is_forwarded() -> None:
    names = ("corp.test", "10.in-addr.arpa", "home.arpa", "arpa", "in-addr.arpa")
    zones = [{**ZONE, "name": name} for name in names]
    upstream = read(document(upstream={"zone": zones, "forward_zones": ["d.f.ip6.arpa"]})).upstream
    assert upstream.forwarded == ("d.f.ip6.arpa", "10.in-addr.arpa", "home.arpa"), "a wider zone leaves them here"


@pytest.mark.parametrize(
    ("zones", "words"),
    [
        ([{**ZONE, "name": ""}], "upstream.zone[0].name: expected the name of a zone"),
        ([{**ZONE, "name": "x" * 64}], "upstream.zone[0].name: expected the name of a zone"),
        ([{**ZONE, "name": "\u00e4.test"}], "upstream.zone[0].name: expected the name of a zone"),
        ([{**ZONE, "name": "a.localhost"}], "upstream.zone[0].name: is always answered here"),
        ([ZONE, {**ZONE, "name": "corp.test"}], "upstream.zone[1].name: another zone has this name"),
        ([{**ZONE, "servers": []}], "upstream.zone[0].servers: "),
        ([{**ZONE, "servers": ["127.0.0.1:5300"]}], "upstream.zone[0].servers[0]: is one of listen.dns"),
        ([{**ZONE, "servers": ["[fe80::1]:53"]}], "upstream.zone[0].servers[0]: is a link-local address and needs"),
    ],
)
def test_a_zone_that_leads_nowhere_is_named_by_its_key(zones: list[dict[str, object]], words: str) -> None:
    assert fault(document(upstream={"servers": SERVERS, "zone": zones})).startswith(f"resolver.toml: {words}")


@pytest.mark.parametrize(("section", "key"), [("upstream", "servers"), ("listen", "dns")])
def test_a_link_local_address_has_its_interface(section: str, key: str) -> None:
    words = f"resolver.toml: {section}.{key}[1]: is a link-local address and needs its interface"
    assert fault(document(**{section: {key: ["192.0.2.53:53", "[fe80::1]:53"]}})).startswith(words)
    assert read(document(**{section: {key: ["192.0.2.53:53", "[fe80::1%eth0]:53"]}}))


@pytest.mark.parametrize(
    ("allow", "addresses", "own", "keys"),
    [
        (["2001:db8::/32"], ["192.0.2.1"], [], ["page.addresses"]),
        (["2001:db8::/32"], ["192.0.2.1", "2001:db8::1"], [], []),
        (["2001:db8::/32"], ["2001:db8::1"], ["192.0.2.9"], ["list[0].addresses"]),
        (["192.0.2.0/24", "::1/128"], ["192.0.2.1"], [], []),
    ],
)
def test_a_page_that_ipv6_clients_cannot_reach_is_warned_of(
    allow: list[str], addresses: list[str], own: list[str], keys: list[str]
) -> None:
    whole = {**listed(addresses=own), "listen": {"allow": allow}, "page": {"addresses": addresses, **TEXTS}}
    said = [line for line in config.warnings(read(whole)) if "has no IPv6 address" in line]
    assert [line.split()[0] for line in said] == keys
    nothing = {**whole, **listed(addresses=own, answer="nxdomain"), "listen": {"allow": allow}}
    assert not [line for line in config.warnings(read(nothing)) if "has no IPv6 address" in line]


def test_an_upstream_has_a_port() -> None:
    assert "upstream.servers[0]" in fault(document(upstream={"servers": ["192.0.2.53:0"]}))


@pytest.mark.parametrize(
    "url",
    [
        "http://authority.example/",
        "https:///x",
        "file://host/x",
        "file:x",
        "/srv",
        "https://a@b.example/",
        "https://[",
        "file:///x?y",
    ],
)
def test_only_local_and_https_repositories(url: str) -> None:
    assert fault(sourced(url=url)).startswith("resolver.toml: list[0].source.url: expected file:///FOLDER")


def test_client_certificates_belong_to_https_and_come_with_their_key() -> None:
    remote = "https://authority.example/lists"
    assert read(sourced(url=remote, ca="a", certificate="c", key="k"))
    assert "set both certificate and key" in fault(sourced(url=remote, certificate="c"))
    assert "https:// or tls:// url or receipt only" in fault(sourced(ca="a"))


def test_a_file_that_is_not_toml_says_where() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("[listen\n", "resolver.toml")
    assert str(caught.value).startswith("resolver.toml: not TOML: ")
    assert caught.value.key == ""


def test_nesting_without_end_is_a_fault_of_the_file() -> None:
    with pytest.raises(ConfigError, match="not TOML"):
        parse("a = " + "[" * 100_000, "resolver.toml")


def test_load_names_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for content, reason in ((b"\xff", "not UTF-8"), (b"#" * (2**20 + 1), "larger than 1MiB")):
        path = tmp_path / "resolver.toml"
        path.write_bytes(content)
        with pytest.raises(ConfigError) as caught:
            load(path)
        assert str(caught.value) == f"{path}: {reason}"
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path)


def test_a_pipe_without_a_writer_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "resolver.toml")
    held: list[str] = []

    def reading() -> None:
        with pytest.raises(ConfigError, match="is a pipe, which"):
            load(tmp_path / "resolver.toml")
        held.append("not")

    thread = threading.Thread(target=reading, daemon=True)
    thread.start()
    thread.join(5)
    assert held == ["not"]


def written(tmp_path: Path, resolv_conf: str, **changes: object) -> tuple[Path, Path]:
    """A configuration file and a resolv.conf."""
    path, resolv = tmp_path / "resolver.toml", tmp_path / "resolv.conf"
    path.write_text("".join(f"{key} = {toml(value)}\n" for key, value in document(**changes).items()))
    resolv.write_text(resolv_conf)
    return path, resolv


def test_upstreams_left_out_are_those_of_resolv_conf_but_never_ourselves(tmp_path: Path) -> None:
    lines = "# c\nsearch example\nnameserver 127.0.0.1\nnameserver\nnameserver x\n nameserver 2001:db8::53\n"
    paths = written(tmp_path, lines, listen={"dns": ["127.0.0.1:53"]})
    assert load(*paths).upstream.servers == (Endpoint("2001:db8::53", 53),)


def test_no_upstream_at_all_is_refused(tmp_path: Path) -> None:
    path, resolv = written(tmp_path, "nameserver 127.0.0.1\n", listen={"dns": ["127.0.0.1:53"]})
    with pytest.raises(ConfigError) as caught:
        load(path, resolv)
    assert str(caught.value).startswith(f"{path}: upstream.servers: none given, and {resolv} names no")


def test_a_nameserver_without_its_interface_is_left_out_and_named(tmp_path: Path) -> None:
    path, resolv = written(tmp_path, "nameserver fe80::1\nnameserver fe80::2%eth0\n")
    assert load(path, resolv).upstream.servers == (Endpoint("fe80::2%eth0", 53),)
    (line,) = config.left_out(path, resolv)
    assert line.startswith(f"{resolv}: nameserver fe80::1 is left out: it is a link-local address")
    resolv.write_text("nameserver fe80::1\n")
    with pytest.raises(ConfigError, match="is a link-local address and needs its interface"):
        load(path, resolv)
    path, resolv = written(tmp_path, "nameserver fe80::1\n", upstream={"servers": SERVERS})
    assert config.left_out(path, resolv) == ()


def test_upstreams_given_are_taken_as_they_are(tmp_path: Path) -> None:
    path, _ = written(tmp_path, "", upstream={"servers": ["192.0.2.53:5353"]})
    assert load(path, tmp_path / "absent").upstream.servers == (Endpoint("192.0.2.53", 5353),)


EXAMPLE = Path(__file__).parents[3] / "deploy" / "resolver.toml"
OPTION = re.compile(r"^#?([a-z][a-z0-9_]*) = ")


def options_of_the_code() -> set[str]:
    """Path of every key of every struct."""
    found: set[str] = set()

    def walk(kind: type, path: str) -> None:
        for one in msgspec.structs.fields(kind):
            here = f"{path}{one.encode_name}"
            inner = config.List if one.encode_name == "list" else one.type
            if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
                walk(inner, f"{here}.")
            else:
                found.add(here)

    walk(Config, "")
    return found


def test_the_example_has_every_option_once() -> None:
    section, found = "", []
    for line in EXAMPLE.read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif option := OPTION.match(line):
            found.append(f"{section}.{option[1]}")
    assert len(found) == len(set(found))
    assert set(found) == options_of_the_code()


def test_the_example_explains_every_option() -> None:
    previous = ""
    for line in EXAMPLE.read_text().splitlines():
        if OPTION.match(line):
            assert previous.startswith("# ") or OPTION.match(previous), line
        previous = line


def test_the_example_shows_the_defaults_and_loads_once_it_is_filled_in() -> None:
    text = EXAMPLE.read_text()
    with pytest.raises(ConfigError, match=r"page\.operator: still holds REPLACE-ME"):
        parse(text, "resolver.toml")
    filled = text.replace(config.MARKER, "Example")
    shown = re.sub(r"^#(?=[a-z][a-z0-9_]* = )", "", filled, flags=re.MULTILINE)
    assert len(tomllib.loads(shown)) == 17
    assert parse(shown, "resolver.toml") == parse(filled, "resolver.toml")


def test_a_value_that_is_none_of_its_choices_is_not_repeated() -> None:
    text = "\n".join(f"{key} = {toml(value)}" for key, value in listed(basis="canary-4711.example").items())
    with pytest.raises(ConfigError) as refused:
        parse(text, "resolver.toml")
    said = str(refused.value)
    assert said == "resolver.toml: list[0].basis: not one of the values that this key accepts: contract, statute"


@pytest.mark.parametrize(
    ("whole", "where"),
    [
        (document(limits={"canary.test": 1}), "resolver.toml: limits"),
        (document(**{"canary.test": 1}), "resolver.toml"),
        (document(limits={"queries_per_second": 0}), "resolver.toml: limits.queries_per_second"),
        (sourced(canary=1), "resolver.toml: list[0].source"),
    ],
)
def test_what_was_typed_as_a_key_is_told_and_not_for_logs(whole: dict[str, object], where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(whole)
    assert caught.value.where == where
    assert caught.value.key in str(caught.value)


def test_names_that_no_line_may_block_unseen() -> None:
    text = """
        [upstream]
        servers = ["127.0.0.1:5301"]
        [page]
        addresses = ["192.0.2.1"]
        help = [{text = "Help", url = "https://help.test/now"}, {text = "Call", phone = "1"}]
        [[list]]
        id = "demo"
        demonstration = true
        source = {kind = "tuf", url = "https://Feed.test:8443/x", root = "r.json", receipt = "https://receipts.test/"}
        guard = {protected = ["isp.test"]}
        [[list]]
        id = "other"
        demonstration = true
        source = {kind = "tuf", url = "https://192.0.2.7/x", root = "r.json"}
    """
    found = config.parse(text, "resolver.toml")
    hosts = ("feed.test", "help.test", "receipts.test")
    assert config.protected_names(found, found.lists[0]) == ("isp.test", *hosts)
    assert config.protected_names(found, found.lists[1]) == hosts


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("write to <abuse@ISP.test>.", ("isp.test",)),
        ("see https://www.isp.test/wrong, or call", ("www.isp.test",)),
        ("(https://isp.test:8443)", ("isp.test",)),
        ("12 Road Street, nobody@host, http://[::1]/, http://[", ()),
    ],
)
def test_whatever_the_page_links_to_is_protected(text: str, hosts: tuple[str, ...]) -> None:
    found = read(document(page={**TEXTS, "addresses": ["192.0.2.1"], "contact": text}))
    assert config.protected_names(found, found.lists[0]) == hosts


@pytest.mark.parametrize(
    ("key", "build"),
    [
        ("listen.allow", lambda v: document(listen={"allow": v})),
        ("listen.proxy_from", lambda v: document(listen={"proxy_from": v})),
        ("limits.exempt", lambda v: document(limits={"exempt": v})),
        ("list[0].clients", lambda v: listed(clients=v)),
        ("list[0].exempt", lambda v: listed(exempt=v)),
    ],
)
def test_a_set_that_holds_ipv4_unseen_is_warned_of(key, build) -> None:  # type: ignore[no-untyped-def]  # a table's columns
    def warned(prefixes: list[str]) -> list[str]:
        return [line for line in config.warnings(read(build(prefixes))) if "::ffff:0:0/96" in line]

    for prefix in ("::/0", "::/80", "::ffff:0:0/96"):
        [line] = warned([prefix])
        # How a mapped prefix is written depends on the version of Python.
        assert line.startswith(f"{key} holds {ipaddress.ip_network(prefix)}, and with ::ffff:0:0/96 all IPv4 clients")
        assert warned([prefix, "0.0.0.0/0"]) == []
    for prefixes in (["2001:db8::/32", "::1/128", "::ffff:0:0/97"], ["0.0.0.0/0"]):
        assert warned(prefixes) == []


def test_the_choice_for_all_lists_is_the_default_of_each() -> None:
    everywhere = {**listed(without_list="refuse"), "state": {"without_list": "forward"}}
    assert read(everywhere).lists[0].without_list == "refuse"
    assert read(document(state={"without_list": "forward"})).lists[0].without_list == "forward"
    assert read(document(state={"without_list": "refuse"})).lists[0].without_list == ""


def test_a_list_of_another_file_is_taken_into_the_configuration(tmp_path: Path) -> None:
    path, file = tmp_path / "resolver.toml", tmp_path / "new.toml"
    whole = {**document(), "upstream": {"servers": ["192.0.2.53:53"]}}
    path.write_text("".join(f"{key} = {toml(value)}\n" for key, value in whole.items()))
    source = {"kind": "tuf", "url": "file:///srv/second", "root": "/srv/root.json"}
    for list_id, ids in (("two", ["one", "two"]), ("one", ["one"])):
        file.write_text(f"list = {toml([{'id': list_id, 'expire': 'keep', 'source': source}])}\n")
        found, one = config.load_with(path, file)
        assert [each.id for each in found.lists] == ids
        assert (one.id, one.source.url, one.source.target) == (list_id, "file:///srv/second", list_id)
    for text in ("", "list = []", "list = [1]", "[[list]]\n[[list]]", "[[list]]\n[state]", "list = 1"):
        file.write_text(text)
        with pytest.raises(ConfigError, match=r"new\.toml: expected one table \[\[list\]\] and nothing else"):
            config.load_with(path, file)
    file.write_text("[[list]]\nid = 'three'")
    with pytest.raises(ConfigError, match=r"new\.toml: list\[1\]\.source: required"):
        config.load_with(path, file)


def test_a_rehearsal_is_as_one_of_the_lists_and_takes_the_place_of_one() -> None:
    one = document()["list"][0]  # type: ignore[index]  # a list
    two = {**document(), "list": [one, {**one, "id": "two"}]}
    named = {"name": "block-test.isp.example"}
    assert read({**two, "rehearsal": named}).rehearsed is not None
    assert read({**two, "rehearsal": named}).rehearsed.id == "one"  # type: ignore[union-attr]
    assert read({**two, "rehearsal": {**named, "like": "two"}}).rehearsed.id == "two"  # type: ignore[union-attr]
    assert read(two).rehearsed is None
    full = {**document(), "list": [{**one, "id": f"list-{number}"} for number in range(16)]}
    assert read(full)
    assert "with it there can be 15 lists" in fault({**full, "rehearsal": named})
