"""`manage.py check` names what is wrong with the settings of a cluster, and how to mend it."""

from __future__ import annotations

import os
import shutil

import pytest
from pydantic import ValidationError

from apps.core.errors import PlaneError
from controlplane.env import Env
from tests.certificates import make_certificate
from workers.cluster.attempt import find_owner
from workers.cluster.checks import check_cluster


def test_each_fault_of_the_settings_is_named(settings, tmp_path):
    good = make_certificate(tmp_path / "good.pem")
    good.chmod(0o600)
    wide = make_certificate(tmp_path / "wide.pem")
    wide.chmod(0o644)
    (tmp_path / "text.pem").write_text("no certificate")
    (tmp_path / "text.pem").chmod(0o600)
    ways = {
        "tls://10.0.0.5:8786 good.pem": [],
        "tcp://127.0.0.1:8786 good.pem": [],
        "tcp://10.0.0.5:8786 good.pem": ["E001 CLUSTER_ADDRESS"],
        "tls://10.0.0.5:8786 wide.pem": ["E003 CLUSTER_CERTIFICATE_KEY"],
        "tls://10.0.0.5:8786 text.pem": ["E002 CLUSTER_AUTHORITIES"],
        "tls://10.0.0.5:8786 none.pem": [f"E002 CLUSTER_{name}" for name in ("AUTHORITIES", "CERTIFICATE",
                                                                             "CERTIFICATE_KEY")],
    }  # fmt: skip
    found = {}
    for way in ways:
        address, name = way.split()
        files = dict.fromkeys(("cluster_authorities", "cluster_certificate"), str(tmp_path / name))
        update = {"cluster_address": address, "cluster_folder": str(tmp_path), "engine_uid": 0, **files}
        settings.ENV = settings.ENV.model_copy(update=update)
        errors = check_cluster()
        found[way] = [f"{error.id.removeprefix('workers.')} {error.msg.partition('=')[0]}" for error in errors]
        assert all(error.hint for error in errors)
    assert found == ways
    settings.ENV = settings.ENV.model_copy(update={"cluster_address": "", "cluster_folder": str(tmp_path / "away")})
    assert check_cluster() == []
    settings.ENV = settings.ENV.model_copy(update={"cluster_address": "tcp://127.0.0.1:8786"})
    assert [error.id for error in check_cluster()] == ["workers.E004"]
    stale = {"cluster_folder": str(tmp_path / ("x" * 300))}  # whose status is an error, as on a mount that is stale
    settings.ENV = settings.ENV.model_copy(update=stale)
    assert [error.id for error in check_cluster()] == ["workers.E004"]


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone runs jobs as other users")
def test_a_folder_of_root_is_refused(settings, tmp_path):
    update = {"cluster_address": "tcp://127.0.0.1:8786", "cluster_folder": str(tmp_path), "engine_uid": 1_900_000_000}
    settings.ENV = settings.ENV.model_copy(update=update)
    assert [error.id for error in check_cluster()] == ["workers.E006"]
    with pytest.raises(PlaneError, match="belongs to root"):
        find_owner()
    shutil.chown(tmp_path, 1234, 1234)
    assert (check_cluster(), find_owner()) == ([], 1234)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("cluster_address", {"cluster_address": "http://10.0.0.5:8786", "cluster_folder": "/shared"}),
        ("cluster_folder", {"cluster_address": "tls://10.0.0.5:8786"}),
        ("cluster_folder", {"cluster_folder": "shared"}),
    ],
)
def test_a_value_of_another_form_stops_the_start(name, values):
    with pytest.raises(ValidationError) as caught:
        Env(**values)
    assert [error["loc"] for error in caught.value.errors()] == [(name,)]
