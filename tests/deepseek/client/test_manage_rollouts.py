from __future__ import annotations

import json

import pytest

from apps.fleet.rollouts.models import Rollout
from tests.apps.fleet.rollouts.conftest import (  # noqa: F401  fixtures
    _own_store,
    add_devices,
    add_samples,
    approved,
    default_experiment,
    first_release,
    fleet,
    forms,
    held,
    issue,
    job_of,
    make_variant,
    registered,
    second_version,
    store_files,
    variant,
)

pytestmark = pytest.mark.django_db(transaction=True)


def read(run):
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_a_rollout_is_planned_requested_shown_and_aborted(
    cli,
    fleet,  # noqa: F811
    second_version,  # noqa: F811
    approver,
    tmp_path,
    say_end,
):
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"waves": [{"count": 5}, {"share": 1.0}]}))
    version = f"{second_version.model.name}:v{second_version.number}"
    draft = read(cli("rollouts", "create", version, "--plan", plan, "--title", "spring"))
    assert [wave["devices"] for wave in draft["preview"]["waves"]] == [5, 15]
    assert read(cli("rollouts", "request", draft["id"], "--comment", "please"))["state"] == "awaiting_approval"
    assert "awaiting_approval" in cli("rollouts", "ls").stdout
    assert "Approvers decide whether it starts." in cli("rollouts", "show", draft["id"]).stdout
    assert len(read(cli("rollouts", "devices", draft["id"], "--json"))) == 20
    assert read(cli("rollouts", "abort", draft["id"], "--reason", "no"))["state"] == "aborted"
    assert Rollout.objects.get().state_reason["message"] == "no"
    say_end(cli("rollouts", "create", version, "--plan", tmp_path / "none.json"), 2, "--plan")
    say_end(cli("rollouts", "create", "nothing"), 2, "MODEL:vN")
    say_end(cli("rollouts", "approve", draft["id"], "--reason", "x"), 2, "ROLLOUT")
