"""Where things lie below the state folder: an update of the software must find them there."""

from pathlib import Path

from resolver.feed.places import Places


def test_everything_lies_where_earlier_releases_have_put_it() -> None:
    places = Places("/srv/state")
    assert {name: str(path) for name, path in vars(places).items()} == {
        "directory": "/srv/state",
        "lists": "/srv/state/lists",
        "releases": "/srv/state/releases",
        "receipts": "/srv/state/receipts",
        "evidence": "/srv/state/evidence",
        "audit_log": "/srv/state/audit.log",
        "ledger": "/srv/state/ledger.sqlite",
        "collected": "/srv/state/fleet-receipts.read",
        "national": "/srv/state/national",
    }
    assert places.list("demo") == Path("/srv/state/lists/demo")
