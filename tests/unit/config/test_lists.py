"""What a list and its source take, by kind, and what is refused with it."""

import pytest

from resolver.config.lists import Guard, List, Source, faults_of_list, faults_of_source


def faults(**values: object) -> list[str]:
    source = {"kind": "tuf", "url": "file:///srv/lists", "root": "/srv/key", **values}
    return [f"{key}: {reason}" for key, reason in faults_of_source(Source(**source), "source")]  # type: ignore[arg-type]  # as read


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "openpgp", "identity": "/srv/gnupg", "format": "csv", "dated_within": 3600},
        {"kind": "openpgp", "identity": "/srv/gnupg", "url": "https://authority.example/list.gpg"},
        {"kind": "openpgp", "identity": "/srv/gnupg", "format": "rpz"},
        {"kind": "file", "format": "csv"},
        {"kind": "file", "format": "rpz"},
        {"kind": "image", "target": "demo"},
        {"kind": "zone", "url": "dns://192.0.2.1:53/rpz.authority.example"},
        {"kind": "zone", "url": "tls://ns.authority.example/rpz.authority.example", "ca": "/srv/ca.pem"},
        {"identity": "/srv/age", "receipt": "/srv/receipts"},
        {"receipt": "https://authority.example/receipts", "ca": "/x", "certificate": "/y", "key": "/z"},
    ],
)
def test_what_each_kind_takes(values: dict[str, object]) -> None:
    assert faults(**values) == []


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"kind": "openpgp"}, "source.identity: required: the GnuPG home"),
        ({"kind": "zone"}, "source.url: expected dns://"),
        ({"kind": "zone", "url": "dns://192.0.2.1:53/"}, "source.url: expected dns://"),
        ({"kind": "zone", "url": "dns://192.0.2.1:x/z"}, "source.url: expected dns://"),
        ({"url": "dns://192.0.2.1/z"}, "source.url: expected file:///FOLDER"),
        ({"kind": "file", "url": "http://authority.example/f"}, "source.url: expected file:///FILE or https://HOST/FILE"),
        ({"kind": "openpgp", "url": "/srv/drop"}, "source.url: expected file:///FOLDER (a drop folder) or https"),
        ({"format": "csv"}, "source.format: belongs to a source of kind openpgp or file"),
        ({"incremental": True}, "source.incremental: belongs to a source of kind zone"),
        ({"dated_within": 3600}, "source.dated_within: belongs to a source of kind openpgp"),
        ({"kind": "file", "identity": "/x"}, "source.identity: belongs to a source of kind tuf or openpgp"),
        ({"kind": "file", "target": "x"}, "source.target: belongs to a source of kind tuf or image"),
        ({"receipt": "receipts"}, "source.receipt: expected the absolute path"),
        ({"receipt": "http://authority.example/"}, "source.receipt: expected the absolute path"),
        ({"ca": "/x"}, "source.ca: belongs to an https:// or tls:// url or receipt only"),
    ],
)
def test_what_a_kind_does_not_take(values: dict[str, object], fault: str) -> None:
    assert any(one.startswith(fault) for one in faults(**values))


def test_clients_take_nothing_out_and_an_old_setting_says_what_to_do() -> None:
    source = Source(kind="tuf", url="file:///srv/lists", root="/srv/key")
    for breaker, faults in (("alarm", []), ("suspend-new", ["list[0].guard.breaker"])):
        one = List(id="demo", source=source, expire="keep", guard=Guard(breaker=breaker))  # type: ignore[arg-type]  # as read
        found = list(faults_of_list(one, "list[0]", has_address=True))
        assert [key for key, _ in found] == faults
        assert all("popular_share" in reason and 'only "alarm"' in reason for _, reason in found)
