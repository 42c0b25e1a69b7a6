import pytest
from allauth.mfa.totp.internal.auth import TOTP

from apps.core.encryption.columns import TextUnreadable
from apps.platform.accounts.adapter import MFAAdapter


def test_a_totp_secret_is_not_in_the_database(engineer):
    TOTP.activate(engineer, "JBSWY3DPEHPK3PXP")
    row = engineer.authenticator_set.get()
    assert "JBSWY3DPEHPK3PXP" not in str(row.data)
    assert MFAAdapter().decrypt(row.data["secret"]) == "JBSWY3DPEHPK3PXP"


def test_a_new_key_reads_what_the_old_one_wrote(settings):
    settings.SECRET_KEY = "old"
    sealed = MFAAdapter().encrypt("seed")
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new", ["old"]
    assert MFAAdapter().decrypt(sealed) == "seed"
    settings.SECRET_KEY_FALLBACKS = []
    with pytest.raises(TextUnreadable):
        MFAAdapter().decrypt(sealed)
