"""What a device installs: without a network, beside what it runs, and on a machine of another architecture (qemu).

Wants the folder of `make site`, named by PLANE_SITE, and for aarch64 that of tests/deploy/aarch64_python.py, named by
AARCH64_PYTHON: .ci/run makes both.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path

import pip
import pytest

from deepseek.agent.errors import AgentError, AgentFailure
from deepseek.agent.plane.enrolment import read_token
from deepseek.models.machine import get_arch
from deploy.agent_package import FILES, PLATFORMS, build_agent_wheel
from deploy.sums import write_sums
from deploy.wheel_file import write_wheel
from tests.deepseek.models.test_onnx_file import build_onnx, write_model
from tests.deepseek.serve.conftest import Process
from tests.deploy.aarch64_python import find_command
from tests.deploy.compose import ROOT
from tests.deploy.conftest import need_namespaces

pytestmark = pytest.mark.xdist_group("deploy")
SITE, PYTHON = os.environ.get("PLANE_SITE", ""), os.environ.get("AARCH64_PYTHON", "")
MARKER = ".deepseek-agent"
STUB = b"def main():\n    print('stub')\n"


@pytest.fixture(scope="module")
def agents() -> Path:
    """The folders of all architectures."""
    if not SITE:
        pytest.skip("needs a folder to carry: `make site`, then PLANE_SITE=dist/site")
    return Path(SITE).absolute() / "agent"


@pytest.fixture
def stub(tmp_path) -> Path:
    """A folder as of this architecture, with an agent that needs no other package."""
    folder = tmp_path / "stub"
    (folder / "wheels").mkdir(parents=True)
    for name in FILES:
        shutil.copy(ROOT / "deploy/agent" / name, folder)
    python = "{}.{}".format(*sys.version_info[:2])
    for name, text in {"architecture": get_arch(), "pythons": python, "version": "7.1"}.items():
        (folder / name).write_text(f"{text}\n")
    scripts = {"deepseek-agent": "stub:main"}
    write_wheel(
        folder / "wheels", "deepseek-agent", "7.1", "py3-none-any", {"stub.py": STUB}, summary="x", scripts=scripts
    )
    files = read_package(Path(pip.__file__).parent)
    write_wheel(folder / "wheels", "pip", pip.__version__, "py3-none-any", files, summary="as it is installed")
    write_sums(folder)
    return folder


def read_package(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {path.relative_to(folder.parent).as_posix(): path.read_bytes() for path in files}


def read_unit() -> RawConfigParser:
    unit = RawConfigParser(strict=False)
    unit.read(ROOT / "deploy/agent/deepseek-agent.service")
    return unit


def install(folder: Path, prefix: Path, *before: str) -> subprocess.CompletedProcess[str]:
    command = [*before, str(folder / "install.sh"), "--prefix", str(prefix), "--python", sys.executable]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def test_equal_sources_give_equal_bytes(tmp_path):
    (tmp_path / "again").mkdir()
    assert build_agent_wheel(tmp_path).read_bytes() == build_agent_wheel(tmp_path / "again").read_bytes()


def test_each_installation_stands_beside_the_one_that_runs(stub, tmp_path):
    """Only an older environment that carries the marker is removed; foreign folders and links stay."""
    prefix, seen = tmp_path / "opt", []
    prefix.mkdir()  # empty
    for _ in range(2):
        done = install(stub, prefix)
        assert done.returncode == 0, done.stderr
        seen.append((os.readlink(prefix / "current"), sorted(path.name for path in prefix.iterdir())))
        for name in ("foreign", "older"):
            (prefix / name).mkdir(exist_ok=True)
            (prefix / name / "file").touch()
        shutil.copy(prefix / "7.1" / MARKER, prefix / "older")
        (prefix / "link").unlink(missing_ok=True)
        (prefix / "link").symlink_to("7.1")
    assert seen == [
        ("7.1", ["7.1", "current"]),
        ("7.1-2", ["7.1", "7.1-2", "current", "foreign", "link"]),
    ]
    assert (prefix / "foreign/file").exists()
    assert subprocess.run([prefix / "current/bin/deepseek-agent"], capture_output=True).stdout == b"stub\n"


def test_a_folder_of_others_is_refused(stub, tmp_path):
    """As a user's home folder, and with a hidden file alone: nothing is removed, and nothing is written."""
    left = {}
    for name in ("documents/letter", ".profile"):
        prefix = tmp_path / name.replace("/", "-")
        (prefix / name).parent.mkdir(parents=True)
        (prefix / name).touch()
        done = install(stub, prefix)
        assert (done.returncode, "holds other files" in done.stderr) == (2, True), done.stderr
        left[name] = [path.relative_to(prefix).as_posix() for path in prefix.rglob("*") if path.is_file()]
    assert left == {name: [name] for name in left}


def test_what_is_not_installed(stub, tmp_path):
    """Each fault, and the words that refuse it; nothing is left of it."""
    faults = {
        "pythons": ("2.7\n", "this folder is for Python 2.7"),
        "architecture": ("riscv64\n", "this folder is for riscv64"),
        "agent.conf": ("x\n", "did not come whole"),
    }
    wrong = {}
    for name, (text, words) in faults.items():
        before = (stub / name).read_text()
        (stub / name).write_text(text)
        done = install(stub, tmp_path / "opt")
        (stub / name).write_text(before)
        if done.returncode != 2 or words not in done.stderr or (tmp_path / "opt").exists():
            wrong[name] = (done.returncode, done.stderr)
    assert wrong == {}


def test_the_agent_reads_a_token_that_is_put_as_the_document_says(tmp_path):
    """The file belongs to the user of the unit, and has the mode that `--enrol @FILE` takes."""
    lines = (ROOT / "docs/agent-install.md").read_text().splitlines()
    (command,) = [line for line in lines if line.startswith("install ") and "/etc/deepseek-agent/token" in line]
    words = command.split()
    owner = {words.pop(words.index(flag) + 1) for flag in ("-o", "-g")}
    words = [word for word in words if word not in ("-o", "-g")]  # only root gives a file to another user
    (tmp_path / "token").write_text("a-token\n")
    put = tmp_path / "put"
    subprocess.run([*words[:-1], str(put)], cwd=tmp_path, check=True)
    assert read_token(f"@{put}") == "a-token"
    service = read_unit()["Service"]
    assert owner == {service["User"], service["Group"]}
    assert f"--enrol @{words[-1]} " in (ROOT / "deploy/agent/agent.conf").read_text()


def test_only_a_wrong_use_is_not_started_again():
    service = read_unit()["Service"]
    ended = set(service["RestartPreventExitStatus"].split())
    assert (ended, service["Restart"]) == ({str(AgentError.exit_code)}, "always")
    assert str(AgentFailure.exit_code) not in ended


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze: .ci/run installs it")
def test_systemd_takes_the_unit(tmp_path):
    """With a program and a user that are here."""
    text = (ROOT / "deploy/agent/deepseek-agent.service").read_text()
    text = text.replace("/opt/deepseek-agent/current/bin/deepseek-agent", "/bin/true").replace(
        "User=deepseek-agent", ""
    )
    (tmp_path / "deepseek-agent.service").write_text(text)
    words = ["systemd-analyze", "verify", "--man=no", str(tmp_path / "deepseek-agent.service")]
    done = subprocess.run(words, capture_output=True, text=True)
    lines = [line for line in done.stderr.splitlines() if "deepseek" in line]
    later = ("'RestartSteps'", "'RestartMaxDelaySec'")  # systemd before 254 warns of them
    assert [line for line in lines if not any(key in line for key in later)] == []
    assert done.returncode == 0, done.stderr


def test_it_serves_after_an_installation_without_a_network(agents, tmp_path):
    need_namespaces()
    done = install(agents / get_arch(), tmp_path / "opt", "unshare", "--net")
    assert done.returncode == 0, done.stderr
    programs = tmp_path / "opt/current/bin"
    service = Process(write_model(tmp_path / "model", build_onnx()), script=[programs / "deepseek"])
    try:
        assert service.ask("/predict", {"features": [1, 2, 3, 4, 5]}) == (200, {"prediction": [15, 15]})
    finally:
        service.kill()
    words = [programs / "deepseek-agent", "--name", "shelf", "--home", tmp_path / "home", "--once"]
    agent = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (agent.returncode, '"event": "offline"' in agent.stderr + agent.stdout) == (0, True)
    listed = subprocess.run([programs / "deepseek", "--help"], capture_output=True, text=True, check=False).stdout
    assert ("serve" in listed, "train-image" in listed) == (True, False)


def test_it_serves_on_aarch64_under_emulation(agents, tmp_path):
    """Its wheels are complete for that machine, and give the same answers there."""
    if not PYTHON or get_arch() == "aarch64":
        pytest.skip("needs Python for aarch64: tests/deploy/aarch64_python.py FOLDER, then AARCH64_PYTHON=FOLDER")
    command = find_command(Path(PYTHON))
    python, site = Path(command[-1]).name.removeprefix("python"), tmp_path / "site"
    words = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    target = ["--no-compile", "--only-binary=:all:", "--python-version", python, "--target", str(site)]
    platforms = [part for name in PLATFORMS for part in ("--platform", f"{name}_aarch64")]
    wheels = ["--find-links", str(agents / "aarch64/wheels"), "deepseek-agent", "deepseek-tvm-runtime"]
    subprocess.run([*words, *target, *platforms, *wheels], check=True)
    words = [*command[:-1], "-E", f"PYTHONPATH={site}", command[-1], "-m", "deepseek.cli"]
    service = Process(write_model(tmp_path / "model", build_onnx()), script=words)
    try:
        assert service.ask("/predict", {"features": [1, 2, 3, 4, 5]}) == (200, {"prediction": [15, 15]})
    finally:
        service.kill()
