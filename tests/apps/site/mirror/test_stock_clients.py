"""pip, uv and twine as they are, against the web process of a plane."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.conftest import services, template  # noqa: F401  fixtures
from tests.git.conftest import start_plane
from tests.image_files import build_docker_archive
from tests.package_files import build_wheel, hash_file, write_sums

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("packages")]
UV = Path(sys.executable).with_name("uv")
TWINE = Path(sys.executable).with_name("twine")


@pytest.fixture(scope="module")
def plane(tmp_path_factory, template, services):  # noqa: F811
    running = start_plane(tmp_path_factory.mktemp("packages") / "home", template, services)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def index(plane) -> str:
    """The address of the index, filled: app 1.0 needs lib, of which 2.0 is yanked."""
    folder = plane.home / "carried"
    folder.mkdir()
    build_wheel(folder, "app", "1.0", ["lib>=1"], requires_python=">=3.8")
    build_wheel(folder, "lib", "1.5")
    build_wheel(folder, "lib", "2.0")
    done = manage(plane, "publish_wheels", str(write_sums(folder)))
    assert "3 wheels published" in done.stdout, done.stderr
    yank = (
        "from apps.core.actors import *; from apps.site.mirror import services, models;"
        "services.yank_version(actor=build_plane_actor(PlaneRole.OPERATOR), reason='deletes files',"
        " version=models.PackageVersion.objects.get(version='2.0'))"
    )
    manage(plane, "shell", "--no-imports", "-c", yank)
    return f"{plane.facts()['address']}/simple"


@pytest.fixture(scope="module")
def token(plane) -> str:
    """Of an engineer, for publishing alone."""
    return manage(plane, "create_token", "engineer", "--project=demo", "--scopes=packages:write").stdout.strip()


def manage(plane, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, env=plane.environment, capture_output=True, text=True, check=True)


def run(*command: object, **more: str) -> subprocess.CompletedProcess[str]:
    """With nothing of this machine's configuration: the client has the index alone."""
    own = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environment = {**own, "PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1", "TWINE_NON_INTERACTIVE": "1", **more}
    return subprocess.run(
        [str(part) for part in command], env=environment, capture_output=True, text=True, check=False, cwd="/"
    )


def pip(*arguments: object) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments)


def test_pip_installs_with_what_is_needed(index, tmp_path):
    done = pip("install", "app", "--no-cache-dir", f"--index-url={index}", "--target", tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.glob("*.dist-info")} == {"app-1.0.dist-info", "lib-1.5.dist-info"}


def test_pip_knows_the_versions(index):
    done = pip("index", "versions", "lib", f"--index-url={index}/")
    assert "lib (1.5)" in done.stdout, done.stderr


def test_a_pin_gets_what_is_yanked_and_reads_why(index, tmp_path):
    done = pip("install", "lib==2.0", "--no-cache-dir", f"--index-url={index}", "--target", tmp_path)
    assert (done.returncode, "deletes files" in done.stderr) == (0, True)


def test_uv_installs(index, tmp_path):
    done = run(UV, "pip", "install", "app", "--no-cache", "--default-index", index, "--target", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "lib/__init__.py").is_file()


def test_twine_and_uv_publish(token, index, tmp_path):
    address = index.removesuffix("simple") + "legacy/"
    first, second = build_wheel(tmp_path, "acme-tools", "1.0"), build_wheel(tmp_path, "acme-tools", "1.1")
    password = {"TWINE_PASSWORD": token, "TWINE_USERNAME": "__token__"}
    done = run(TWINE, "upload", "--repository-url", address, first, **password)
    assert done.returncode == 0, done.stdout + done.stderr
    done = run(UV, "publish", "--publish-url", address, "--token", token, second)
    assert done.returncode == 0, done.stderr
    other = build_wheel(tmp_path, "acme-tools", "1.0", members={"acme_tools/x.py": b""})
    refused = run(TWINE, "upload", "--repository-url", address, other, **password)
    assert (refused.returncode, "already exists" in refused.stdout + refused.stderr) == (1, True)
    done = pip("install", "acme-tools", "--no-cache-dir", f"--index-url={index}", "--target", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/acme_tools-1.1.dist-info").is_dir()


def test_a_tampered_file_is_not_installed(plane, token, index, tmp_path):
    """Whatever stands in the store, no other bytes leave it."""
    digest = hash_file(build_wheel(tmp_path, "spoiled", "1.0"))
    address = index.removesuffix("simple") + "legacy/"
    done = run(UV, "publish", "--publish-url", address, "--token", token, tmp_path / "spoiled-1.0-py3-none-any.whl")
    assert done.returncode == 0, done.stderr
    (stored,) = plane.home.glob(f"**/sha256/{digest[:2]}/{digest[2:]}")
    stored.chmod(0o600)
    stored.write_bytes(bytes(reversed(stored.read_bytes())))
    done = pip("download", "spoiled", "--no-cache-dir", "--retries=0", f"--index-url={index}", "-d", tmp_path / "out")
    assert done.returncode != 0
    assert not list((tmp_path / "out").glob("*.whl"))


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="needs skopeo: .ci/run installs it")
def test_skopeo_copies_an_image(plane, tmp_path):
    archive = build_docker_archive(tmp_path / "app.tar")
    done = manage(plane, "import_image", str(archive), "--architecture", "amd64")
    pinned = done.stdout.split()[1]
    host = plane.facts()["address"].removeprefix("http://")
    more = ("--src-tls-verify=false", "--override-arch=amd64", "--preserve-digests", "--insecure-policy")
    done = run("skopeo", "copy", *more, f"docker://{host}/demo/app:v1", f"dir:{tmp_path}/out")
    assert done.returncode == 0, done.stderr
    assert f"sha256:{hash_file(tmp_path / 'out/manifest.json')}" == pinned
    done = run("skopeo", "copy", *more, f"docker://{host}/demo/app@{pinned}", f"oci:{tmp_path}/oci:v1")
    assert done.returncode == 0, done.stderr
    manage(plane, "export_image", "demo/app:v1", str(tmp_path / "export.tar"))
    for kind in ("docker-archive", "oci-archive"):
        done = run("skopeo", "copy", "--insecure-policy", f"{kind}:{tmp_path}/export.tar", f"dir:{tmp_path}/{kind}")
        assert done.returncode == 0, (kind, done.stderr)
