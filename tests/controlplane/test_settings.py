"""Settings as a process of its own reads them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def database(home: Path, shown: str, **variables: str) -> str:
    """What a process with these variables prints of its DATABASES["default"]."""
    code = f"from django.conf import settings; print(settings.DATABASES['default']{shown})"
    environment = {
        "PATH": os.environ["PATH"],
        "PLANE_HOME": str(home),
        "DJANGO_SETTINGS_MODULE": "controlplane.settings",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment | variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_home_of_any_name_holds_its_database(tmp_path):
    home = tmp_path / "my home #1 %41?"
    assert database(home, "['NAME']") == str(home / "plane.sqlite3")


def test_what_the_address_of_a_database_asks_for_stays_beside_the_pool(tmp_path):
    url = "postgres://plane@db.plant.local:5432/plane?sslmode=verify-full&sslrootcert=/etc/plane/ca.pem"
    shown = database(tmp_path, "['OPTIONS']", DATABASE_URL=url)
    assert "'sslmode': 'verify-full'" in shown
    assert "'sslrootcert': '/etc/plane/ca.pem'" in shown
    assert "'pool'" in shown
