"""deepseek bundle keygen, sign, verify: on the machine of a person, with no plane."""

import io
import json
import shutil

import pytest

from deepseek.bundles.spec import ENVELOPE_FILE

PASSWORD = "correct horse battery"


@pytest.fixture
def say(monkeypatch):
    def say(text):
        monkeypatch.setattr("sys.stdin", io.StringIO(text + "\n"))

    return say


def test_two_people_sign_and_anybody_verifies(deepseek, pristine, tmp_path, say):
    folder = shutil.copytree(pristine[0], tmp_path / "bundle")
    (folder / ENVELOPE_FILE).unlink()
    for person in ("ada", "bo"):
        say(PASSWORD)
        assert deepseek("bundle", "keygen", tmp_path / person, "--person", person).returncode == 0
        assert (tmp_path / person).stat().st_mode & 0o777 == 0o600
        assert b"ENCRYPTED" in (tmp_path / person).read_bytes()
        say(PASSWORD)
        signed = deepseek("bundle", "sign", folder, "--key", tmp_path / person)
        assert signed.returncode == 0
        assert "run first" in signed.stdout
    both = [word for person in ("ada", "bo") for word in ("--signer", tmp_path / f"{person}.pub.json")]
    verified = deepseek("bundle", "verify", folder, *both)
    assert verified.returncode == 0
    assert "signed by: ada, bo" in verified.stdout
    say(PASSWORD)
    assert "has signed this bundle" in deepseek("bundle", "sign", folder, "--key", tmp_path / "bo").stderr
    assert deepseek("bundle", "verify", folder, *both[:2]).returncode == 2  # bo's key is not named


def test_bad_words_end_with_2(deepseek, pristine, tmp_path, say):
    folder, _ = pristine
    key = tmp_path / "key"
    wrong = []
    say("short")
    wrong.append(deepseek("bundle", "keygen", key, "--person", "ada"))
    say(PASSWORD)
    deepseek("bundle", "keygen", key, "--person", "ada")
    say(PASSWORD)
    wrong.append(deepseek("bundle", "keygen", key, "--person", "ada"))  # there is one
    key.rename(tmp_path / "moved")
    say(PASSWORD)
    wrong.append(deepseek("bundle", "keygen", key, "--person", "ada"))  # its public half is there
    (tmp_path / "moved").rename(key)
    say("another password")
    wrong.append(deepseek("bundle", "sign", folder, "--key", key))
    wrong.append(deepseek("bundle", "verify", tmp_path))
    document = json.loads((tmp_path / "key.pub.json").read_text())
    (tmp_path / "bad.json").write_text(json.dumps({**document, "fingerprint": "0" * 64}))
    wrong.append(deepseek("bundle", "verify", folder, "--signer", tmp_path / "bad.json"))
    assert [each.returncode for each in wrong] == [2] * len(wrong)
    assert all(each.stderr.startswith("deepseek") or "error" in each.stderr for each in wrong)
