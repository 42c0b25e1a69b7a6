from __future__ import annotations

import copy
import json

import pytest

URL = "/api/v1/lineage"
SPEC = "https://openlineage.io/spec"
RUN_ID = "0198f3c2-7a51-7cc0-8b54-3f6c1f2d9a11"


@pytest.fixture
def facet():
    """facet(name=...) -> a facet with what every facet has."""
    return lambda **fields: {"_producer": "https://tool/1", "_schemaURL": f"{SPEC}/facets/9-9-9/New.json"} | fields


@pytest.fixture
def event(facet):
    """event(eventType="COMPLETE", ...) -> a valid RunEvent of a foreign job that reads one dataset and writes one."""
    base = {
        "eventTime": "2026-11-25T10:00:00.123Z",
        "producer": "https://tool/1",
        "schemaURL": f"{SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "eventType": "START",
        "run": {"runId": RUN_ID, "facets": {}},
        "job": {"namespace": "etl", "name": "nightly/load", "facets": {}},
        "inputs": [{"namespace": "postgres://erp:5432", "name": "public.orders"}],
        "outputs": [{"namespace": "file", "name": "/lake/orders.parquet"}],
    }
    return lambda **more: copy.deepcopy(base) | more


@pytest.fixture
def send(api, engineer):
    """send(event, **headers) -> the answer; with a token of the engineer."""
    client = api(engineer)

    def post(body, **more):
        return client.post(URL, data=json.dumps(body), content_type="application/json", **more)

    return post
