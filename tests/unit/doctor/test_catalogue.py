"""doctor/catalogue.py: every probe is judged, named once, and says what a person needs."""

import inspect
import re

from resolver.doctor import catalogue, command, special, verdicts, wire
from resolver.doctor.catalogue import PROBES, PRODUCTS, Judge


def test_ids_and_words_are_each_used_once() -> None:
    assert len({one.id for one in PROBES}) == len({one.what for one in PROBES}) == len(PROBES) == len(catalogue.BY_ID)
    assert all(re.fullmatch(r"[a-z0-9-]+", one.id) for one in PROBES)
    assert all(one.why.endswith(".") for one in PROBES)
    assert all(len(one.what) < 50 for one in PROBES), "the table's column"
    assert not [one.id for one in PROBES for verdict in verdicts.ORDER if verdict in one.what]


def test_every_product_is_one_that_can_be_chosen() -> None:
    assert tuple(PRODUCTS) == command.PRODUCTS
    assert {product for one in PROBES for product in one.closes} == set(PRODUCTS)
    assert all(line for one in PROBES for line in one.closes.values())


def test_every_probe_has_questions_or_a_rule_of_its_own() -> None:
    rules = inspect.getsource(special.Special.judge)
    for one in PROBES:
        assert one.puts or one.judge is Judge.SPECIAL
        assert (f'"{one.id}":' in rules) == (one.judge is Judge.SPECIAL), one.id


def test_what_the_owner_asked_for_is_asked() -> None:
    kinds = {put.kind for one in PROBES for put in one.puts}
    assert kinds >= {wire.A, wire.AAAA, wire.HTTPS, wire.SVCB, wire.MX, wire.TXT, wire.ANY, 65_280, wire.DNSKEY}
    for field, values in (("over", {"udp", "tcp", "dot", "doh", "doq"}), ("do", {True, False}), ("cd", {True, False})):
        assert {getattr(put, field) for one in PROBES for put in one.puts} == values
    for field in ("rd", "edns", "warm", "mixed"):
        assert {getattr(put, field) for one in PROBES for put in one.puts} == {True, False}
