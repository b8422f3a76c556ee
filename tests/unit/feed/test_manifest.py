"""What a compile host says of its images: signed, read back as it was, and nothing else read."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from resolver.feed import manifest
from resolver.feed.manifest import Manifest, ManifestBroken, Released, ReleasesSaid
from resolver.signed import statement
from tests.unit.feed.test_state import record

KEY = Ed25519PrivateKey.generate()
PINNED = statement.public_of(KEY)
SAID = {"sequence": 5, "published": 10, "fresh_until": 100}


def test_a_manifest_carries_all_of_a_record_but_what_is_the_hosts_own() -> None:
    one = record(7)
    said = manifest.of_record(one, list_id="demo", image=("ab" * 32, 96), said=SAID)
    data = statement.sign(manifest.to_json(said), KEY)
    read = manifest.read(data, PINNED, Manifest)
    assert read == said
    assert (read.made.suspended, read.image, read.size, read.sequence) == (False, "ab" * 32, 96, 5)
    back = manifest.record_of(read)
    for key in ("serial", "digest", "issued", "expires", "entries", "generation", "digest_key", "targets_keys"):
        assert getattr(back, key) == getattr(one, key)
    assert back.image == f"{one.generation}.image"
    assert manifest.record_of(read, PINNED).targets_keys == manifest.keys_of(PINNED)[0] != one.targets_keys


@pytest.mark.parametrize("kind", [Manifest, ReleasesSaid])
@pytest.mark.parametrize("said", [{}, {"kind": "image"}, {"kind": "releases"}, {"kind": "receipt", **SAID}])
def test_what_is_no_manifest(kind: type[Manifest], said: dict[str, object]) -> None:
    with pytest.raises(ManifestBroken, match="not a manifest"):
        manifest.read(statement.sign(said, KEY), PINNED, kind)


def test_the_pinned_key_has_signed_it() -> None:
    said = ReleasesSaid(digest_key="x", releases=(), **SAID)
    data = statement.sign(manifest.to_json(said), KEY)
    assert manifest.read(data, PINNED, ReleasesSaid) == said
    with pytest.raises(ManifestBroken, match="another key"):
        manifest.read(data, bytes(32), ReleasesSaid)
    with pytest.raises(ManifestBroken, match="signature"):
        manifest.read(data.replace(b"100", b"101"), PINNED, ReleasesSaid)
    with pytest.raises(ManifestBroken, match="not a manifest"):
        manifest.read(data, PINNED, Manifest)


def test_a_release_that_is_not_base64() -> None:
    with pytest.raises(ManifestBroken):
        _ = Released(number=1, until=2, image="no!").sealed
