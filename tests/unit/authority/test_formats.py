"""What each line of another format says as an entry, and why it says none."""

import pytest

from resolver.authority import formats
from resolver.authority.formats import READERS, Dropped, Entry


def said(source: str, text: str) -> list[str]:
    """Entries as the lines of a list, dropped lines as their reason in brackets, and `?` for "only if covered"."""
    return [
        f"<{item.reason}>" if isinstance(item, Dropped) else item.marker + item.name + "?" * bool(item.unless)
        for item in READERS[source](text.split("\n"))
    ]


@pytest.mark.parametrize(
    ("line", "items"),
    [
        ("# comment", []),
        ("", []),
        ("0.0.0.0 a.test", ["=a.test"]),
        ("127.0.0.1\ta.test b.test # c.test", ["=a.test", "=b.test"]),
        ("0.0.0.0 " + " ".join(f"n{at}.test" for at in range(9)), [f"=n{at}.test" for at in range(9)]),
        (":: a.test#c", ["=a.test"]),
        ("::1 localhost ip6-loopback", ["<local>", "<local>"]),
        ("fe80::1%lo0 localhost", ["<local>"]),
        ("0.0.0.0 0.0.0.0", ["<local>"]),
        ("255.255.255.255 broadcasthost", ["<local>"]),
        ("192.0.2.1 a.test", ["!=a.test?"]),
        ("a.test", ["<other_syntax>"]),
        ("a.test b.test", ["<other_syntax>"]),
        ("0.0.0.0", ["<other_syntax>"]),
        ("0.0.0.0 *.a.test !b.test =c.test http://d.test/", ["<wildcard>", "<malformed>", "<malformed>", "<url>"]),
    ],
)
def test_hosts(line: str, items: list[str]) -> None:
    assert said("hosts", line) == items


@pytest.mark.parametrize(
    ("line", "items"),
    [
        ("! a.test", []),
        ("[Adblock Plus 2.0]", []),
        ("# a.test", []),
        ("||a.test^", ["a.test"]),
        ("@@||a.test^", ["!a.test"]),
        ("||a.test", ["<pattern>"]),
        ("||a.test^|", ["<pattern>"]),
        ("||a.test^$third-party", ["<options>"]),
        ("||a.test^$important", ["<options>"]),
        ("||a.test/ads/", ["<url>"]),
        ("||a.test/ads^", ["<url>"]),
        ("||*.a.test^", ["<wildcard>"]),
        ("||a.*^", ["<wildcard>"]),
        ("||=a.test^", ["<malformed>"]),
        ("|http://a.test^", ["<pattern>"]),
        ("a.test", ["<pattern>"]),
        ("/banner[0-9]+/", ["<regex>"]),
        ("/banner/$script", ["<regex>"]),
        ("a.test##.banner", ["<cosmetic>"]),
        ("a.test#@#.banner", ["<cosmetic>"]),
        ("##.banner", ["<cosmetic>"]),
        ("a.test#%#js", ["<cosmetic>"]),
        ("a.test$$script", ["<cosmetic>"]),
        ("@@||a.test/path", ["<exception>"]),
        ("@@||a.test^$document", ["<exception>"]),
        ("@@a", ["<exception>"]),
        ("||a.test^$badfilter", ["<exception>"]),
        ("||a.test^$image,badfilter", ["<exception>"]),
    ],
)
def test_adblock(line: str, items: list[str]) -> None:
    assert said("adblock", line) == items


@pytest.mark.parametrize(
    ("line", "items"),
    [
        ("# address=/a.test/", []),
        ("address=/a.test/", ["a.test"]),
        ("address=/a.test/#", ["a.test"]),
        ("address=/a.test/0.0.0.0 # why", ["a.test"]),
        ("--address = /a.test/b.test/::", ["a.test", "b.test"]),
        ("server=/a.test/", ["a.test"]),
        ("local=/a.test/", ["a.test"]),
        ("address=/a.test/192.0.2.1", ["!a.test?"]),
        ("server=/a.test/192.0.2.1", ["!a.test?"]),
        ("server=/a.test/#", ["!a.test?"]),
        ("server=192.0.2.1", ["<other_setting>"]),
        ("cache-size=1000", ["<other_setting>"]),
        ("address=/*.a.test/", ["<wildcard>"]),
        ("address=//", ["<malformed>"]),
        ("address=/#/0.0.0.0", ["<malformed>"]),
        ("address=/a.test", ["<other_setting>"]),
        ("0.0.0.0 a.test", ["<other_setting>"]),
    ],
)
def test_dnsmasq(line: str, items: list[str]) -> None:
    assert said("dnsmasq", line) == items


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("server: # x", ["<other_setting>"]),
        ('local-zone: "a.test" always_nxdomain', ["a.test"]),
        ("  local-zone: a.test. static # why", ["a.test."]),
        ("local-zone: 'a.test' redirect\nlocal-data: 'a.test A 0.0.0.0'", ["=a.test", "a.test"]),
        ('local-zone: "a.test" redirect\nlocal-data: "a.test A 192.0.2.1"', ["!=a.test?", "!a.test?"]),
        ('local-zone: "a.test" transparent', ["!a.test?"]),
        ('local-zone: "a.test" block_a', ["<other_setting>"]),
        ('local-data: "a.test. 60 IN AAAA ::"', ["=a.test."]),
        ('local-data: "a.test A 0.0.0.0" IN', ["<other_setting>"]),
        ('local-data: ""', ["<other_setting>"]),
        ('local-data: "a.test TXT x"', ["!=a.test?"]),
        ('local-zone: "a.test"', ["<other_setting>"]),
        ('local-data-ptr: "192.0.2.1 a.test"', ["<other_setting>"]),
        ("what is this", ["<other_syntax>"]),
        ('local-zone: "a.test"always_nxdomain"', ["<other_syntax>"]),
        ('local-zone: "a.test" always_nxdomain"', ["<other_syntax>"]),
        ('local-zone: "*.a.test" static', ["<wildcard>"]),
    ],
)
def test_unbound(text: str, items: list[str]) -> None:
    assert said("unbound", text) == items


@pytest.mark.parametrize(
    ("line", "items"),
    [
        ("# http://a.test/", []),
        ("http://a.test/", ["=a.test"]),
        ("HTTPS://A.test", ["=a.test"]),
        ("hxxp://a.test/", ["=a.test"]),
        ("http://a.test:/", ["=a.test"]),
        ("http://a.test/path", ["<url>"]),
        ("http://a.test/?q", ["<url>"]),
        ("http://a.test/#f", ["<url>"]),
        ("http://a.test:8080/", ["<port>"]),
        ("http://user@a.test/", ["<malformed>"]),
        ("http://[/", ["<malformed>"]),
        ("\x00 http://a.test/", ["<malformed>"]),
        ("http://a.tes\tt/", ["<malformed>"]),
        ("ftp://a.test/", ["<other_syntax>"]),
        ("a.test/", ["<other_syntax>"]),
        ("http://*.a.test/", ["<wildcard>"]),
    ],
)
def test_urls(line: str, items: list[str]) -> None:
    assert said("urls", line) == items


@pytest.mark.parametrize(
    ("line", "items"),
    [
        ("*.a.test", ["*.a.test"]),
        ("a.test # why", ["=a.test"]),
        ("*.*.a.test", ["<wildcard>"]),
        ("a.*", ["<wildcard>"]),
        ("!a.test", ["<malformed>"]),
        ("a.test b.test", ["<several_words>"]),
        ("# *.a.test", []),
    ],
)
def test_wildcards(line: str, items: list[str]) -> None:
    assert said("wildcards", line) == items


def test_lines_keep_their_numbers_and_reasons_have_a_meaning() -> None:
    found = list(READERS["hosts"](["# x", "0.0.0.0 a.test", "", "what"]))
    assert found == [Entry(2, "=", "a.test"), Dropped(4, formats.Drop.OTHER_SYNTAX)]
    assert set(formats.Drop) <= set(formats.MEANING)
