"""The web process imports nothing heavy: a lint contract alone misses an eager `__init__`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAVY = (
    "torch",
    "torchvision",
    "PIL",
    "tvm",
    "pandas",
    "pandera",
    "numpy",
    "pyarrow",
    "scipy",
    "sklearn",
    "optuna",
    "pynvml",
    "psutil",
    "s3fs",
    "botocore",
)
LOAD = """
import django, sys
django.setup()
from django.urls import get_resolver
from django.core.wsgi import get_wsgi_application
get_wsgi_application()
def walk(patterns):
    for pattern in patterns:
        walk(getattr(pattern, "url_patterns", ()))
walk(get_resolver().url_patterns)
print(" ".join(name for name in {heavy!r} if name in sys.modules))
"""


def test_loading_every_address_imports_nothing_heavy(tmp_path):
    environment = {"DJANGO_SETTINGS_MODULE": "controlplane.settings", "PLANE_HOME": str(tmp_path), "PATH": "/usr/bin"}
    command = [sys.executable, "-c", LOAD.format(heavy=HEAVY)]
    found = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == ""
