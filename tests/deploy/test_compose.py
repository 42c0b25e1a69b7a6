"""docker-compose.yml by what can be read in it: valid, closed, without a default secret, and in our own terms."""

from __future__ import annotations

import shutil
import subprocess
import sys
from urllib.parse import urlsplit

import pytest
import yaml

from controlplane.env import Env
from controlplane.secret_source import FROM_FILE
from tests.deploy.compose import FILE, ROOT, in_order, services

FOUND = services(PLANE_HOST="plane.example")
OURS = [name for name, spec in FOUND.items() if "deepseek-plane" in spec.get("image", "")]
KNOWN = {name.upper() for name in Env.model_fields} | {f"{name.upper()}_FILE" for name in FROM_FILE}
DOCUMENT = yaml.safe_load(FILE.read_text())
SERVING = [name for name in FOUND if name != "prepare"]


def test_it_is_valid_by_the_compose_specification():
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)]
    checked = subprocess.run(check, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="needs docker-compose, which wants no engine")
@pytest.mark.parametrize("host", ["plane.example", ""])
def test_compose_itself_takes_it_and_asks_for_the_host(host):
    command = ["docker-compose", "--file", str(FILE), "--env-file", "/dev/null", "config", "--quiet"]
    done = subprocess.run(command, env={"PLANE_HOST": host, "PATH": "/usr/bin"}, capture_output=True, text=True)
    assert (done.returncode == 0) == bool(host), done.stderr
    assert ("set it in .env" in done.stderr) == (not host)


def test_every_part_of_the_plane_is_there():
    assert set(OURS) == {"prepare", "web", "worker", "worker-gpu", "dispatcher", "beat"}
    assert set(FOUND) - set(OURS) == {"database", "broker", "proxy"}


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_one_that_we_read_with_a_value_that_we_take(name, monkeypatch):
    given = FOUND[name]["environment"]
    assert set(given) <= KNOWN
    for variable, value in given.items():
        if not variable.endswith("_FILE"):
            monkeypatch.setenv(variable, value)
    assert Env().behind_tls


@pytest.mark.parametrize("name", sorted(FOUND))
def test_no_secret_stands_in_an_environment(name):
    given = FOUND[name].get("environment", {})
    assert not [one for one in given if ("PASSWORD" in one or "SECRET" in one) and not one.endswith("_FILE")]
    assert not [value for value in given.values() if urlsplit(value).password]


def test_a_secret_is_a_file_that_the_site_makes_and_git_does_not_keep():
    assert all(set(spec) == {"file"} for spec in DOCUMENT["secrets"].values())
    ignored = subprocess.run(["git", "check-ignore", "secrets/secret_key", ".env"], cwd=ROOT, capture_output=True)
    assert len(ignored.stdout.split()) == 2


@pytest.mark.parametrize("name", sorted(FOUND))
def test_each_has_the_secrets_that_its_environment_names(name):
    named = {value.rpartition("/")[2] for key, value in FOUND[name].get("environment", {}).items() if "_FILE" in key}
    assert named <= set(FOUND[name].get("secrets", []))


def test_only_the_proxy_can_be_reached_and_nothing_can_leave():
    assert [name for name, spec in FOUND.items() if "ports" in spec] == ["proxy"]
    open_to_the_world = [name for name, spec in DOCUMENT["networks"].items() if not spec.get("internal")]
    assert open_to_the_world == ["front"]
    assert [name for name, spec in FOUND.items() if "front" in spec["networks"]] == ["proxy"]


@pytest.mark.parametrize("name", sorted(FOUND))
def test_each_runs_as_nobody_in_particular_and_writes_only_where_it_may(name):
    spec = FOUND[name]
    assert spec["user"].partition(":")[0] not in ("", "0", "root")
    assert (spec["read_only"], spec["cap_drop"]) == (True, ["ALL"])
    assert spec["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in spec


@pytest.mark.parametrize("name", SERVING)
def test_each_is_watched_bounded_restarted_and_given_time_to_end(name):
    spec = FOUND[name]
    assert spec["healthcheck"]["test"]
    assert {"cpus", "memory", "pids"} == set(spec["deploy"]["resources"]["limits"])
    assert (spec["restart"], "stop_grace_period" in spec) == ("unless-stopped", True)
    assert spec["logging"]["options"]["max-size"]


def test_nothing_serves_before_the_tables_are_ready():
    order = in_order(FOUND)
    assert order.index("prepare") < min(order.index(name) for name in OURS if name != "prepare")
    assert order.index("web") < order.index("proxy")


def test_the_proxy_that_the_plane_believes_is_the_one_there_is():
    network = DOCUMENT["networks"]["inner"]["ipam"]["config"][0]["subnet"]
    assert f"${{{network.removeprefix('${')}" == DOCUMENT["x-plane"]["environment"]["PROXY_ADDRESSES"]


def test_a_missing_host_name_is_asked_for():
    with pytest.raises(KeyError, match="PLANE_HOST"):
        services()
