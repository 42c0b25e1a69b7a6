"""Settings as a process of its own reads them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_a_home_of_any_name_holds_its_database(tmp_path):
    home = tmp_path / "my home #1 %41?"
    code = "from django.conf import settings; print(settings.DATABASES['default']['NAME'])"
    environment = {
        "PATH": os.environ["PATH"],
        "PLANE_HOME": str(home),
        "DJANGO_SETTINGS_MODULE": "controlplane.settings",
    }
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == str(home / "plane.sqlite3"), done.stderr
