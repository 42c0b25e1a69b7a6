"""Keys in a token: the URI, and a signature by SoftHSM where it is installed."""

import shutil
import subprocess
from pathlib import Path

import pytest

from deepseek.signing.errors import SigningError
from deepseek.signing.keys import is_signature
from deepseek.signing.pkcs11 import open_signer, parse_uri

MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so")
MODULE = next((path for path in MODULES if Path(path).exists()), "")
URI = "pkcs11:token=plane;object=release-1"


def test_a_uri_names_a_token_and_a_key() -> None:
    assert parse_uri(URI) == {"token": b"plane", "object": b"release-1"}
    printed = "pkcs11:model=SoftHSM%20v2;serial=01dd;token=my%20plane;id=%01%ff;object=r;type=private"
    assert parse_uri(printed) == {"serial": b"01dd", "token": b"my plane", "id": b"\x01\xff", "object": b"r"}


def test_what_names_no_key_is_refused_and_a_pin_is_not_repeated() -> None:
    wrong = ["", "file:x", "pkcs11:", "pkcs11:token=a", "pkcs11:object=a", "pkcs11:token=a;token=b;object=c"]
    wrong += ["pkcs11:token=a;object=", "pkcs11:token=a;object=b;odd=c"]
    secret = ["pkcs11:token=a;object=b?pin-value=8642", "pkcs11:token=a;object=b;pin-value=8642"]
    for uri in wrong + secret:
        with pytest.raises(SigningError) as refused:
            parse_uri(uri)
        assert (refused.value.code, refused.value.field) == ("key_uri_malformed", "uri")
        assert "8642" not in str(refused.value.as_dict())


@pytest.fixture
def token(tmp_path, monkeypatch) -> None:
    """A token of SoftHSM with one key, in the folder of the test."""
    pkcs11 = pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed")
    if not MODULE or not shutil.which("softhsm2-util"):
        pytest.skip("SoftHSM is not installed")
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path}/tokens\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm2.conf"))
    words = ["softhsm2-util", "--init-token", "--free", "--label", "plane", "--pin", "8642", "--so-pin", "9753"]
    subprocess.run(words, check=True, capture_output=True)
    library = pkcs11.lib(MODULE)
    library.reinitialize()  # another test may have loaded it with another folder
    with library.get_token(token_label="plane").open(user_pin="8642", rw=True) as session:
        curve = bytes.fromhex("06032b6570")  # its object identifier
        parameters = session.create_domain_parameters(
            pkcs11.KeyType.EC_EDWARDS, {pkcs11.Attribute.EC_PARAMS: curve}, local=True
        )
        parameters.generate_keypair(label="release-1", store=True, mechanism=pkcs11.Mechanism.EC_EDWARDS_KEY_PAIR_GEN)


def test_a_token_signs_and_never_gives_its_key(token) -> None:
    signer = open_signer(MODULE, URI, "8642")
    assert is_signature(signer.public_key, signer.sign(b"a release"), b"a release")
    assert "8642" not in repr(signer)
    codes = []
    for module, uri, pin in ((MODULE, URI, "0000"), (MODULE, f"{URI}-2", "8642"), ("/nowhere.so", URI, "8642")):
        with pytest.raises(SigningError) as refused:
            open_signer(module, uri, pin)
        codes.append(refused.value.code)
        assert pin not in str(refused.value.as_dict())
    assert codes == ["token_unavailable", "key_file_missing", "token_unavailable"]
