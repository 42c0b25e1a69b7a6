import json

import pytest

from apps.ml.endpoints.models import Endpoint
from tests.apps.ml.endpoints.conftest import (  # noqa: F401  fixtures
    _own_store,
    add_node,
    approved,
    by_client,
    default_experiment,
    forms,
    held,
    node,
    registered,
    store_files,
    version,
)

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_endpoint_is_created_changed_listed_and_removed(cli, node, version, say_end):  # noqa: F811
    run = cli("endpoints", "create", "oil", "--model", "wti-forecast@production", "--node", "a")
    assert (run.returncode, json.loads(run.stdout)["version"]) == (0, 1), run.stderr
    assert len(json.loads(cli("endpoints", "set", "oil", "--replicas", 2).stdout)["replicas"]) == 2
    line = cli("endpoints", "ls").stdout.splitlines()[1]
    assert line.split()[:5] == ["oil", "starting", "wti-forecast", "production", "1"]
    assert "http://127.0.0.1:8601" in cli("endpoints", "show", "oil").stdout
    say_end(cli("endpoints", "predict", "oil", "[1, 2]"), 2, "No server of the endpoint oil answers now")
    say_end(cli("endpoints", "predict", "oil", "[1, "), 2, "The features are no JSON")
    assert cli("endpoints", "token", "oil").stdout.startswith("dse_")
    assert json.loads(cli("endpoints", "suspend", "oil").stdout)["state"] == "suspended"
    say_end(cli("endpoints", "set", "oil", "--replicas", 0), 2, "replicas")
    say_end(cli("endpoints", "create", "gas", "--model", "none", "--node", "a"), 2, "alias")
    assert cli("endpoints", "rm", "oil").returncode == 0
    assert Endpoint.objects.get().state == "deleted"
