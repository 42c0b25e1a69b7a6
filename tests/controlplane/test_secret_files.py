"""Secrets on their way from the launcher to its children."""

from __future__ import annotations

import os

from controlplane.secret_files import SecretFiles
from controlplane.secret_source import read_secret


def test_secrets_leave_the_environment_and_can_be_read():
    given = {"SECRET_KEY": "s" * 50, "DATABASE_URL": "postgres://u:p@h/d", "DATABASE_PASSWORD": "", "PORT": "0"}
    made = SecretFiles(given)
    try:
        assert not {"s" * 50, given["DATABASE_URL"]} & set(made.environment.values())
        assert {name for name in made.environment if name.endswith("_FILE")} == {"SECRET_KEY_FILE", "DATABASE_URL_FILE"}
        assert made.environment["PORT"] == "0"
        for _ in range(2):  # by each child, and by one that is started again
            assert read_secret("SECRET_KEY", made.environment["SECRET_KEY_FILE"]) == "s" * 50
    finally:
        for descriptor in made.descriptors:
            os.close(descriptor)


def test_file_that_was_named_stays_named():
    made = SecretFiles({"SECRET_KEY_FILE": "/run/secrets/secret_key"})
    assert (made.environment, made.descriptors) == ({"SECRET_KEY_FILE": "/run/secrets/secret_key"}, [])
