"""ICANN suffixes, held against the package that reads the same file."""

import publicsuffixlist
import pytest

from resolver.feed.names import suffixes


@pytest.fixture(scope="module")
def psl() -> suffixes.Suffixes:
    return suffixes.load()


def test_every_rule_is_judged_as_the_package_judges_it(psl: suffixes.Suffixes) -> None:
    package = publicsuffixlist.PublicSuffixList(only_icann=True)
    names = psl.exact | psl.wildcard_parents | psl.spared | {b"x." + name for name in psl.wildcard_parents}
    assert len(names) > 5000
    for name in names:
        assert psl.holds(name) is package.is_public(name.decode()), name


@pytest.mark.parametrize("name", [b"github.io", b"www.ck", b"example.com", b"a.co.uk"])
def test_what_is_no_icann_suffix(name: bytes, psl: suffixes.Suffixes) -> None:
    assert not psl.holds(name)


@pytest.mark.parametrize("name", [b"com", b"co.uk", b"any.ck", b"kobe.jp", b"xn--55qx5d.cn"])
def test_what_is_one(name: bytes, psl: suffixes.Suffixes) -> None:
    assert psl.holds(name)


def test_a_file_without_the_section_is_an_error() -> None:
    with pytest.raises(ValueError, match="no ICANN section"):
        suffixes.parse("com\n")
