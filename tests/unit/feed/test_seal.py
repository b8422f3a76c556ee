"""Keys of a host, and the seal under which a saved image is believed."""

from pathlib import Path

import pytest

from resolver.feed import seal

KEY = b"k" * 32


def test_keys_are_made_once_for_their_owner_alone(tmp_path: Path) -> None:
    made = seal.load_keys(tmp_path / "state")
    assert seal.load_keys(tmp_path / "state") == made
    assert (len(made.digest), len(made.seal)) == (16, 32)
    for path in (tmp_path / "state").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    assert seal.load_keys(tmp_path / "other") != made


def test_keys_do_not_show(tmp_path: Path) -> None:
    assert repr(seal.load_keys(tmp_path)) == "Keys()"


def test_the_folder_comes_before_the_credentials_before_the_state(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        for key, size in (("digest.key", 16), ("seal.key", 32)):
            (tmp_path / name / key).write_bytes(name.encode() * size)
            (tmp_path / name / key).chmod(0o400)
    a, b, state = str(tmp_path / "a"), str(tmp_path / "b"), tmp_path / "state"
    assert seal.load_keys(state, a, b).digest == b"a" * 16
    assert [seal.load_keys(state, *places).apart for places in ((a, b), ("", b))] == [True, True]
    assert seal.load_keys(state, "", b).digest == b"b" * 16
    assert not state.exists()
    assert seal.load_keys(state, "", str(tmp_path)).digest not in (b"a" * 16, b"b" * 16)


@pytest.mark.parametrize("name", ["digest.key", "seal.key"])
def test_half_a_pair_is_an_error(name: str, tmp_path: Path) -> None:
    seal.load_keys(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(seal.KeyUnusable, match=name):
        seal.load_keys(tmp_path, str(tmp_path))


def test_a_key_of_the_wrong_length_is_an_error_that_does_not_tell_it(tmp_path: Path) -> None:
    seal.load_keys(tmp_path)
    (tmp_path / "seal.key").write_bytes(b"secret")
    with pytest.raises(seal.KeyUnusable, match="expected 32 octets") as error:
        seal.load_keys(tmp_path)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o644])
def test_a_key_that_others_may_read_or_change_is_refused(mode: int, tmp_path: Path) -> None:
    seal.load_keys(tmp_path)
    (tmp_path / "digest.key").chmod(mode)
    with pytest.raises(seal.KeyUnusable, match="others may read or change it"):
        seal.load_keys(tmp_path)


def test_a_first_start_that_was_cut_short_goes_on(tmp_path: Path) -> None:
    made = seal.load_keys(tmp_path)
    (tmp_path / "seal.key").unlink()
    assert seal.load_keys(tmp_path).digest == made.digest


def test_the_id_of_a_digest_key_tells_keys_apart() -> None:
    one, two = seal.Keys(b"a" * 16, KEY), seal.Keys(b"b" * 16, KEY)
    assert one.digest_id != two.digest_id
    assert one.digest_id == seal.Keys(b"a" * 16, b"other").digest_id


def test_keys_in_the_state_or_below_it_are_not_apart(tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert not seal.load_keys(state).apart
    below = state / "keys"
    seal.load_keys(below)
    (tmp_path / "link").symlink_to(below)
    for folder in (state, below, tmp_path / "link", tmp_path / "state" / ".." / "state"):
        assert not seal.load_keys(state, str(folder)).apart
    assert seal.load_keys(tmp_path / "other", str(state)).apart


def test_what_opens_a_copy_is_a_key_of_its_own_for_each_list() -> None:
    keys = [seal.Keys(b"d" * 16, one).copy_key(name) for one in (KEY, b"x" * 32) for name in ("demo", "other")]
    assert {len(key) for key in keys} == {seal.COPY_KEY_BYTES}
    assert len({*keys, KEY, seal.seal_of(b"demo", KEY)}) == 6
    # Of the digest key it says nothing, and it stays when that is changed.
    assert seal.Keys(b"e" * 16, KEY).copy_key("demo") == keys[0]


def test_a_sealed_image_comes_back() -> None:
    image = bytes(range(256))
    assert bytes(seal.unseal(image + seal.seal_of(image, KEY), KEY)) == image


@pytest.mark.parametrize("at", [0, 100, 255, 256, 287])
def test_any_changed_octet_breaks_the_seal(at: int) -> None:
    image = bytes(range(256))
    data = bytearray(image + seal.seal_of(image, KEY))
    data[at] ^= 1
    with pytest.raises(seal.SealBroken):
        seal.unseal(bytes(data), KEY)


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 287])
def test_a_file_cut_short_is_broken(size: int) -> None:
    image = bytes(range(256))
    with pytest.raises(seal.SealBroken):
        seal.unseal((image + seal.seal_of(image, KEY))[:size], KEY)


def test_the_seal_of_another_host_is_broken() -> None:
    with pytest.raises(seal.SealBroken):
        seal.unseal(b"image" + seal.seal_of(b"image", b"o" * 32), KEY)


def test_the_host_key_is_made_once_for_its_owner_alone_and_only_where_it_may(tmp_path: Path) -> None:
    with pytest.raises(seal.KeyUnusable, match=r"host\.key"):
        seal.host_key(tmp_path / "state", make=False)
    assert not (tmp_path / "state").exists()
    made = seal.host_key(tmp_path / "state", make=True)
    assert seal.host_key(tmp_path / "state", make=True).private_bytes_raw() == made.private_bytes_raw()
    assert (tmp_path / "state" / "host.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "state" / "host.key").read_bytes() == made.private_bytes_raw()


def test_the_host_key_of_a_folder_comes_first_and_one_without_it_takes_the_states(tmp_path: Path) -> None:
    (tmp_path / "host.key").write_bytes(b"h" * 32)
    (tmp_path / "host.key").chmod(0o400)
    for folder, credentials in ((str(tmp_path), ""), ("", str(tmp_path)), (str(tmp_path / "none"), str(tmp_path))):
        assert seal.host_key(tmp_path / "state", folder, credentials, make=True).private_bytes_raw() == b"h" * 32
    assert seal.host_key(tmp_path / "state", str(tmp_path / "none"), make=True).private_bytes_raw() != b"h" * 32


def test_the_key_of_the_noise_is_the_seal_keys_and_no_other(tmp_path: Path) -> None:
    keys = seal.load_keys(tmp_path / "one")
    assert len(keys.noise_key()) == seal.NOISE_KEY_BYTES
    assert keys.noise_key() == seal.load_keys(tmp_path / "one").noise_key()
    others = {keys.seal, keys.digest, keys.copy_key("demo"), seal.load_keys(tmp_path / "two").noise_key()}
    assert keys.noise_key() not in others
