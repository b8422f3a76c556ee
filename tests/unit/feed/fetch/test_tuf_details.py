"""What is reported of a TUF repository: each file that is verified, and of an error the file, field and number."""

from pathlib import Path

import pytest
from msgspec.structs import replace
from tuf.api import exceptions as tuf

from resolver.config.lists import List, Source
from resolver.feed import detail_text
from resolver.feed.details import Code, Detail, Place, Word
from resolver.feed.fetch import child, tuf_details
from resolver.feed.fetch import tuf as source_tuf
from resolver.feed.messages import FetchRequest
from resolver.feed.sandbox import Failed
from resolver.signed import metadata
from tests.fakes.authority import Authority
from tests.unit.feed.fetch.test_tuf import authority, request_of, yes

__all__ = ["authority", "request_of"]


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://a.example/l/metadata/timestamp.json", (Place.TIMESTAMP, 0)),
        ("https://a.example/l/metadata/12.snapshot.json", (Place.SNAPSHOT, 12)),
        ("file:///l/metadata/2.root.json", (Place.ROOT, 2)),
        ("https://a.example/l/metadata/name0.test.json", (Place.LIST, 0)),
        ("https://a.example/l/targets/ab.demo", (Place.LIST, 0)),
    ],
)
def test_a_url_is_a_place(url: str, place: tuple[Place, int]) -> None:
    assert tuf_details.place_of(url) == place


def told(request: FetchRequest) -> str:
    """What the operator reads of a fetch that fails, without the repository's folder."""
    with pytest.raises(Failed) as error:
        source_tuf.fetch(request, yes)
    source = Source(kind="tuf", url=request.url, root=request.root, identity=request.identity)
    said = detail_text.text(error.value.detail, List(id="demo", source=source))
    folder = request.url.removeprefix("file://")
    return f"{error.value.reason}: {said}".replace(f"{folder}/", "").replace(str(Path(request.root).parent), "")


def test_a_file_that_is_missing_is_named(request_of: FetchRequest, authority: Authority) -> None:
    (authority.folder / "metadata/timestamp.json").rename(authority.folder / "metadata/kept")
    assert told(request_of) == "unreachable: metadata/timestamp.json does not exist"
    (authority.folder / "metadata/kept").rename(authority.folder / "metadata/timestamp.json")
    for path in (authority.folder / "targets").iterdir():
        path.unlink()
    assert told(request_of) == "unreachable: the list below targets does not exist"


def test_a_pinned_root_and_an_identity_that_cannot_be_used(request_of: FetchRequest, tmp_path: Path) -> None:
    assert told(replace(request_of, root="/nowhere/root.json")).endswith("root.json: No such file or directory")
    (tmp_path / "bad.json").write_text("{}")
    assert told(replace(request_of, root=str(tmp_path / "bad.json"))) == (
        "root_unusable: /bad.json does not have the form that it must have"
    )
    identity = tmp_path / "identity"
    assert told(replace(request_of, identity=str(identity))).endswith("identity: No such file or directory")
    identity.write_text("# none\n")
    identity.chmod(0o600)
    assert told(replace(request_of, identity=str(identity))).endswith("identity holds no key that can be used")
    identity.chmod(0o604)
    assert told(replace(request_of, identity=str(identity))).endswith("others may read or change it; chmod o= it")


def test_a_target_that_is_not_there_and_a_list_too_large(request_of: FetchRequest) -> None:
    assert told(replace(request_of, target="other")) == (
        "unknown_target: metadata/targets.json has no target of the configured name (0 delegations are not followed)"
    )
    assert told(replace(request_of, max_bytes=9)) == (
        "oversized: the list below targets is larger than the 9 octets allowed"
    )


def test_the_steps_of_a_fetch(request_of: FetchRequest) -> None:
    steps: list[Detail] = []
    child.STEPS.set(steps.append)
    assert source_tuf.fetch(request_of, yes)
    verified = [one.at for one in steps if one.code is Code.FOUND_VERIFIED]
    assert verified == [Place.TIMESTAMP, Place.SNAPSHOT, Place.TARGETS]
    read = [(one.at, one.version > 0) for one in steps if one.code is Code.STEP_READ]
    # Metadata whose hashes are not signed is read again, to see whether a version was used twice.
    assert [*read[:4], read[-1]] == [
        (Place.ROOT, True),
        (Place.TIMESTAMP, False),
        (Place.SNAPSHOT, True),
        (Place.TARGETS, True),
        (Place.LIST, False),
    ]
    steps.clear()
    source_tuf.fetch(request_of, lambda _: False)
    assert Place.SNAPSHOT in [one.at for one in steps if one.code is Code.STEP_KEPT]


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (
            tuf.UnsignedMetadataError("targets was signed by 1/2 keys"),
            Detail(code=Code.SIGNATURES, at=Place.TARGETS, numbers=(1, 2)),
        ),
        (
            tuf.BadVersionNumberError("New timestamp version 3 must be >= 4"),
            Detail(code=Code.VERSION_LOWER, at=Place.TIMESTAMP, numbers=(3, 4)),
        ),
        (
            tuf.BadVersionNumberError("New snapshot version must be >= 4, got version 3"),
            Detail(code=Code.VERSION_LOWER, at=Place.SNAPSHOT, numbers=(3, 4)),
        ),
        (
            tuf.BadVersionNumberError("Expected targets v4, got v3."),
            Detail(code=Code.VERSION_OTHER, at=Place.TIMESTAMP, numbers=(4, 3)),
        ),
        (tuf.BadVersionNumberError("name0.test"), None),
        (tuf.LengthOrHashMismatchError("name0.test"), Detail(code=Code.OTHER_OCTETS, at=Place.TIMESTAMP)),
        (tuf.RepositoryError("name0.test"), Detail(code=Code.FORM, at=Place.TIMESTAMP)),
        (PermissionError(13, "name0.test"), Detail(code=Code.FILE, at=Place.STATE, numbers=(13,))),
        (ValueError("name0.test"), None),
    ],
)
def test_an_error_of_the_client_is_numbers_and_places(error: Exception, detail: Detail | None) -> None:
    watch = tuf_details.Watch()
    watch.at = Place.TIMESTAMP
    assert watch.detail_of(error) == detail


@pytest.mark.parametrize(("field", "word"), [("expires", Word.EXPIRES), ("name0.test", Word.NONE)])
def test_a_field_that_is_missing_is_named_if_it_is_one_of_tuf(field: str, word: Word) -> None:
    error = tuf.RepositoryError("name0.test")
    error.__cause__ = KeyError(field)
    found = tuf_details.Watch().detail_of(error)
    assert found is not None
    assert found.word is word


@pytest.mark.parametrize(
    ("custom", "detail"),
    [
        (None, Detail(code=Code.CUSTOM_NONE, at=Place.TARGETS)),
        ({"name0.test": 1}, Detail(code=Code.FIELD_MISSING, at=Place.TARGETS, word=Word.LIST)),
        (
            {"list": "demo", "serial": 7, "issued": "now", "expires": None, "withdrawn": False},
            Detail(code=Code.FIELD, at=Place.TARGETS, word=Word.ISSUED),
        ),
        (
            {"list": "demo", "serial": 7, "issued": 1, "withdrawn": False},
            Detail(code=Code.FIELD_MISSING, at=Place.TARGETS, word=Word.EXPIRES),
        ),
        (
            {"list": "demo", "serial": 7, "issued": 1, "expires": 2, "withdrawn": False, "encryption": "age"},
            Detail(code=Code.FIELD_MISSING, at=Place.TARGETS, word=Word.PLAIN),
        ),
    ],
)
def test_a_custom_that_is_not_as_it_must_be_names_its_field(custom: object, detail: Detail) -> None:
    with pytest.raises(metadata.CustomMalformed) as error:
        metadata.custom_of(custom)
    assert tuf_details.of_custom(error.value) == detail
