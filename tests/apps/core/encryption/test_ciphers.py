"""Known answers of the standards, and what is refused."""

from __future__ import annotations

import pytest

from apps.core.encryption.ciphers import AES_256_GCM, CIPHERS, SM4_GCM, DecryptionError, hash_sm3

PLAIN = bytes.fromhex("AA" * 8 + "BB" * 8 + "CC" * 8 + "DD" * 8 + "EE" * 8 + "FF" * 8 + "EE" * 8 + "AA" * 8)
ASSOCIATED = bytes.fromhex("FEEDFACEDEADBEEFFEEDFACEDEADBEEFABADDAD2")


def test_sm3_gives_the_answers_of_gb_t_32905():
    assert hash_sm3(b"abc").hex() == "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"
    assert hash_sm3(b"abcd" * 16).hex() == "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732"


def test_sm4_gcm_gives_the_answer_of_rfc_8998():
    key, nonce = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"), bytes.fromhex("00001234567800000000ABCD")
    sealed = SM4_GCM.encrypt(key, nonce, PLAIN, ASSOCIATED)
    assert sealed.hex().upper() == (
        "17F399F08C67D5EE19D0DC9969C4BB7D5FD46FD3756489069157B282BB200735"
        "D82710CA5C22F0CCFA7CBF93D496AC15A56834CBCF98C397B4024A2691233B8D"
        "83DE3541E4C2B58177E065A9BF7B62EC"
    )


def test_sm4_gives_the_answer_of_gb_t_32907():
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    key = bytes.fromhex("0123456789abcdeffedcba9876543210")
    encryptor = Cipher(algorithms.SM4(key), modes.ECB()).encryptor()
    assert encryptor.update(key).hex() == "681edf34d206965e86b3e94f536e4246"


def test_aes_gives_the_answer_of_the_gcm_paper():
    """Test case 14 of McGrew and Viega."""
    assert AES_256_GCM.encrypt(bytes(32), bytes(12), bytes(16), b"").hex() == (
        "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"
    )


@pytest.mark.parametrize("cipher", CIPHERS.values(), ids=CIPHERS)
def test_changes_are_refused(cipher):
    key, nonce = bytes(cipher.key_bytes), bytes(12)
    sealed = cipher.encrypt(key, nonce, PLAIN, ASSOCIATED)
    assert cipher.decrypt(key, nonce, sealed, ASSOCIATED) == PLAIN
    flipped = bytes([sealed[0] ^ 1]) + sealed[1:]
    for changed, associated in ((flipped, ASSOCIATED), (sealed, b""), (sealed[:-1], ASSOCIATED), (b"", ASSOCIATED)):
        with pytest.raises(DecryptionError):
            cipher.decrypt(key, nonce, changed, associated)


def test_a_derived_key_is_of_its_purpose():
    for cipher in CIPHERS.values():
        keys = {cipher.derive_key(bytes(32), salt, purpose) for salt in (b"a", b"b") for purpose in (b"x", b"y")}
        assert len(keys) == 4
        assert {len(key) for key in keys} == {cipher.key_bytes}
