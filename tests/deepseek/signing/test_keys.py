"""Key files: made once, read by their owner alone."""

import os
import stat
import subprocess

import pytest

from deepseek.signing.errors import SigningError
from deepseek.signing.keys import (
    compute_key_id,
    decode_public_key,
    encode_public_key,
    encode_public_pem,
    generate_key,
    is_signature,
    load_private_key,
    save_private_key,
)


def test_a_key_is_kept_and_loaded(tmp_path, key) -> None:
    path = tmp_path / "keys" / "release.pem"
    save_private_key(path, key)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert os.listdir(path.parent) == ["release.pem"]
    loaded = load_private_key(path)
    assert compute_key_id(loaded.public_key) == compute_key_id(key.public_key)
    assert is_signature(key.public_key, loaded.sign(b"x"), b"x")


def test_a_key_is_never_overwritten(tmp_path, key, other_key) -> None:
    path = tmp_path / "release.pem"
    save_private_key(path, key)
    with pytest.raises(SigningError) as refused:
        save_private_key(path, other_key)
    assert refused.value.code == "key_file_exists"
    assert compute_key_id(load_private_key(path).public_key) == compute_key_id(key.public_key)
    assert os.listdir(tmp_path) == ["release.pem"]


def test_a_file_that_others_may_read_or_that_holds_no_key_is_refused(tmp_path, key) -> None:
    wide, wrong, ec = tmp_path / "wide.pem", tmp_path / "wrong.pem", tmp_path / "ec.pem"
    save_private_key(wide, key)
    wrong.write_text("no key")
    subprocess.run(["openssl", "genpkey", "-algorithm", "X25519", "-out", ec], check=True, capture_output=True)
    for path in (wrong, ec):
        path.chmod(0o600)
    answers = {}
    for mode in (0o640, 0o604, 0o610, 0o660):
        wide.chmod(mode)
        answers[mode] = get_code(wide)
    assert answers == dict.fromkeys(answers, "key_file_unsafe")
    places = (wrong, ec, tmp_path, tmp_path / "gone.pem")
    assert [get_code(path) for path in places] == ["key_file_unreadable"] * 3 + ["key_file_missing"]


def get_code(path) -> str:
    with pytest.raises(SigningError) as refused:
        load_private_key(path)
    return refused.value.code


def test_a_public_key_is_32_bytes_of_base64(key) -> None:
    text = encode_public_key(key.public_key)
    assert compute_key_id(decode_public_key(text)) == compute_key_id(key.public_key)
    assert encode_public_pem(key.public_key).startswith("-----BEGIN PUBLIC KEY-----")
    for wrong in ("", "x", text[:-1], text + "\n", "AAAA", None, 7):
        with pytest.raises(SigningError) as refused:
            decode_public_key(wrong)
        assert (refused.value.code, refused.value.field) == ("public_key_malformed", "public_key")


def test_key_ids_differ() -> None:
    assert compute_key_id(generate_key().public_key) != compute_key_id(generate_key().public_key)
