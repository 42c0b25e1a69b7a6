"""Our wheel alone: it holds whatever the repository ships, and a plane runs from it with no repository around."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.deploy.compose import ROOT

pytestmark = pytest.mark.xdist_group("deploy")
PACKAGES = ("apps", "controlplane", "workers", "deepseek")


def tracked(*folders: str) -> set[str]:
    listed = ["git", "ls-files", "--", *folders]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return {name for name in names if (ROOT / name).is_file()}


@pytest.fixture(scope="module")
def packed(wheel) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


def test_every_module_migration_and_data_file_is_in_it(packed):
    assert tracked(*PACKAGES) - packed == set()


def test_every_template_static_file_and_catalogue_is_in_it(packed):
    shipped = {f"controlplane/{name}" for name in tracked("templates", "static", "locale", "docs")}
    assert len(shipped) > 100
    assert shipped - packed == set()


def test_nothing_else_is_in_it(packed):
    assert {name.partition("/")[0] for name in packed} - set(PACKAGES) == {"deepseek_offline-0.1.0.dist-info"}


def test_its_extras_follow_the_requirement_files(wheel):
    archive = zipfile.ZipFile(wheel)
    metadata = archive.read("deepseek_offline-0.1.0.dist-info/METADATA").decode()
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    wanted = [line for line in lines if line.strip() and not line.startswith("#")]
    assert metadata.count('extra == "plane"') == len(wanted)
    assert {'extra == "s3"', 'extra == "compile"', 'extra == "serve"'} <= set(metadata.replace("; ", "\n").split("\n"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A folder with the wheel in it, and the packages that the tests run with behind it."""
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", str(target), str(wheel)], check=True)
    return target


def run(installed: Path, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(installed), "PLANE_HOME": home.name}
    command = [sys.executable, "-m", "controlplane", *words]
    return subprocess.run(command, cwd=home.parent, env=environment, capture_output=True, text=True, check=False)


def test_a_page_is_drawn_from_it_and_its_home_is_where_it_starts(installed, tmp_path):
    """Template, static file and Chinese text: all of them out of the wheel."""
    code = (
        "import controlplane; from django.test import Client; c = Client(HTTP_HOST='localhost');"
        "print(controlplane.__file__); print(c.get('/healthz').status_code);"
        "print(c.get('/static/css/tokens.css').status_code);"
        "page = c.get('/accounts/login/', headers={'Accept-Language': 'zh-hans'});"
        "print(page.status_code, '登录' in page.content.decode())"
    )
    assert run(installed, tmp_path / "home", "prepare").returncode == 0
    done = run(installed, tmp_path / "home", "shell", "--no-imports", "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(installed / "controlplane/__init__.py"), "200", "200", "200", "True"]
    assert (tmp_path / "home/plane.sqlite3").is_file()
