"""A site, a canary, and a collection of them by the real engine, in the process that it starts for it."""

import pyarrow.parquet as pq
import pytest

from deepseek.collect.run import run
from deepseek.collect.spec import CollectSpec
from tests.site import serving, watching

FIELDS = [{"name": "name", "select": "a"}, {"name": "price", "select": "b", "type": "number"}]
QUICK = {"requests_per_second": 200.0, "autothrottle": False, "retries": 0, "concurrency": 8}


@pytest.fixture
def site():
    with serving() as served:
        yield served


@pytest.fixture
def canary():
    with watching() as watched:
        yield watched
    assert watched.callers == []


def make_spec(site, **fields):
    """A spec of items `li` from the site's first page, as quick as may be."""
    given = {
        "start_urls": [f"{site.base}/"],
        "allowed_hosts": ["127.0.0.1"],
        "pages": [{"items": "li", "fields": FIELDS}],
        "rate": QUICK,
    }
    return CollectSpec.model_validate(given | fields)


@pytest.fixture
def spec(site):
    """spec(**fields) -> make_spec of the site"""
    return lambda **fields: make_spec(site, **fields)


@pytest.fixture
def allowed(monkeypatch):
    monkeypatch.setenv("COLLECT_HOSTS", "127.0.0.1")


@pytest.fixture
def collect(allowed, spec, tmp_path, report):
    """collect(**fields of the spec) -> (rows, fetch report, result)"""
    import json

    def call(**fields):
        out = tmp_path / "out"
        result = run(spec(**fields), inputs={}, out=out, report=report)
        rows = pq.read_table(out / "records.parquet").to_pylist()
        return rows, json.loads((out / "report.json").read_text()), result

    return call
