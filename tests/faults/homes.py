"""Homes for planes that are about to start: a copy of the migrated template database, and the first accounts.

One child process makes database, accounts and token, where three commands would start Django three times.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

ROOT = Path(__file__).resolve().parents[2]
# Where the tests of this run keep their template, which is that of a plane. Read before any fixture sets another home:
# a folder without the template takes all migrations, 17 seconds.
TEMPLATE_FOLDER = str(settings.PLANE_HOME)
ENGINEER_SCOPES, APPROVER_SCOPES = "read,data:write,jobs:write,models:write", "read,approvals:decide"


@dataclass(frozen=True)
class FirstAccounts:
    passwords: dict[str, str]
    """One-time passwords by name."""
    token: str
    """Of the engineer, with ENGINEER_SCOPES."""
    approver_token: str
    """Of the approver, with APPROVER_SCOPES."""


def prepare_home(environment: dict[str, str], *, accounts: bool = True) -> FirstAccounts:
    """Migrate the database of this environment, and make the first accounts in it; `accounts=False`: none."""
    command = [sys.executable, "-m", "tests.faults.homes", TEMPLATE_FOLDER, "accounts" if accounts else ""]
    more = {"DJANGO_SETTINGS_MODULE": "controlplane.settings", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, env={**environment, **more}, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return FirstAccounts(**json.loads(done.stdout.splitlines()[-1]))


def main(template_folder: Path, accounts: bool) -> None:
    os.umask(0o077)
    import django

    django.setup()
    migrate(template_folder)
    made = {"passwords": {}, "token": "", "approver_token": ""}
    if accounts:
        made["passwords"] = json.loads(run_command("create_first_accounts", "--json"))
        for name, person, scopes in (
            ("token", "engineer", ENGINEER_SCOPES),
            ("approver_token", "approver", APPROVER_SCOPES),
        ):
            made[name] = run_command("create_token", person, "--project", "demo", "--scopes", scopes).strip()
    print(json.dumps(made))


def migrate(template_folder: Path) -> None:
    """Copy the template into SQLite; another server than that of the tests has no template, and is migrated."""
    from django.core.management import call_command
    from django.db import connection

    from tests.template_database import connect_to, copy_sqlite_template

    if connection.vendor != "sqlite":
        call_command("migrate", interactive=False, verbosity=0)
        return
    name = str(connection.settings_dict["NAME"])
    copy_sqlite_template(template_folder, Path(name))
    connect_to(name)


def run_command(*words: str) -> str:
    from django.core.management import call_command

    printed = io.StringIO()
    call_command(*words, stdout=printed)
    return printed.getvalue()


if __name__ == "__main__":
    main(Path(sys.argv[1]), bool(sys.argv[2]))
