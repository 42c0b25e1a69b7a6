"""The key for pseudonyms: the same for a project, in no place but the attempt's folder."""

import json

import pytest

from workers import pseudonym_keys

PLAN = {"steps": [{"kind": "mask", "how": "pseudonym", "columns": ["t"]}]}


def test_it_depends_on_the_project_and_on_the_secret_key(settings):
    first = pseudonym_keys.build_key(1)
    assert first == pseudonym_keys.build_key(1) != pseudonym_keys.build_key(2)
    settings.SECRET_KEY = "another"
    assert pseudonym_keys.build_key(1) != first


@pytest.mark.django_db
@pytest.mark.parametrize("spec", [{}, {"steps": [{"kind": "mask"}]}, {"steps": [{"kind": "fill_median"}]}])
def test_it_is_staged_only_for_a_plan_that_needs_it(submit, tmp_path, spec):
    job = submit()
    job.kind, job.spec = "clean", json.dumps(spec)
    assert pseudonym_keys.stage_key(job, tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.django_db
def test_nobody_else_may_read_it(submit, tmp_path):
    job = submit()
    job.kind, job.spec = "clean", json.dumps(PLAN)
    staged = pseudonym_keys.stage_key(job, tmp_path)
    assert staged == {"pseudonym_key": str(tmp_path / "pseudonym_key")}
    assert (tmp_path / "pseudonym_key").stat().st_mode & 0o777 == 0o600
    assert pseudonym_keys.build_key(job.project_id).hex() not in job.spec
