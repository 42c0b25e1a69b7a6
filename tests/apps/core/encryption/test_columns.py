"""Ciphertexts of columns: what decrypts them, and what does not."""

from __future__ import annotations

import base64

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from apps.core.encryption.columns import (
    TextUnreadable,
    build_fernet,
    decrypt_text,
    encrypt_text,
    is_current,
    is_encrypted,
)
from apps.core.encryption.fields import EncryptedTextField

KEYS = [SecretStr(f"{name}:{base64.b64encode(bytes([number]) * 32).decode()}") for number, name in enumerate("ab")]


def use(settings, keys, cipher="aes-256-gcm"):
    settings.ENV = settings.ENV.model_copy(update={"encryption_keys": keys, "column_cipher": cipher})


@pytest.mark.parametrize("cipher", ["aes-256-gcm", "sm4-gcm"])
def test_a_text_comes_back_under_its_purpose_alone(settings, cipher):
    use(settings, KEYS, cipher)
    stored = encrypt_text("hunter2 密", "one column")
    assert "hunter2" not in stored
    assert decrypt_text(stored, "one column") == "hunter2 密"
    assert stored.startswith(f"enc1:{cipher}:a:")
    for changed, purpose in ((stored, "another"), (stored[:-8] + "AAAAAAA=", "one column"), ("enc1:x", "one column")):
        with pytest.raises(TextUnreadable):
            decrypt_text(changed, purpose)


def test_a_former_key_decrypts_as_long_as_it_is_listed(settings):
    use(settings, KEYS[1:])
    stored = encrypt_text("hunter2", "x")
    use(settings, KEYS)
    assert (decrypt_text(stored, "x"), is_current(stored)) == ("hunter2", False)
    use(settings, KEYS[:1])
    with pytest.raises(TextUnreadable):
        decrypt_text(stored, "x")


def test_without_keys_it_is_secret_key(settings):
    stored = encrypt_text("hunter2", "x")
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another"
    assert (decrypt_text(stored, "x"), is_current(stored)) == ("hunter2", False)
    settings.SECRET_KEY_FALLBACKS = []
    with pytest.raises(TextUnreadable):
        decrypt_text(stored, "x")


def test_tokens_from_before_decrypt(settings):
    token = build_fernet(settings.SECRET_KEY, "x").encrypt(b"hunter2").decode()
    assert (decrypt_text(token, "x"), is_encrypted(token), is_current(token)) == ("hunter2", True, False)
    with pytest.raises(TextUnreadable):
        decrypt_text(Fernet(Fernet.generate_key()).encrypt(b"").decode(), "x")


def test_the_field_refuses_plain_text():
    field = EncryptedTextField(purpose="x")
    field.set_attributes_from_name("token")
    with pytest.raises(ValueError, match="token takes what encrypt_text returns"):
        field.get_prep_value("hunter2")
    assert field.get_prep_value("") == ""
