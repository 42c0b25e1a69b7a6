"""A release names the signed provenance of its variant, which lies and travels beside it."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from apps.fleet.devices.polling import describe_assignment
from apps.fleet.releases.models import Release
from apps.fleet.releases.queries import get_fingerprint, get_key_lists
from apps.platform.audit.models import AuditRecord
from apps.platform.jobs.models import JobInput, JobProvenance
from apps.platform.lineage.ends import EdgeSpec, End
from apps.platform.lineage.models import Edge
from deepseek.signing.dsse import Envelope
from deepseek.signing.key_lists import parse_key_lists, verify_key_lists, verify_release
from deepseek.signing.provenance import Dependency, verify_provenance

pytestmark = pytest.mark.django_db
KIND = "train"


def verify(release):
    """What a device makes of it, from the plane's lists of keys alone."""
    keys = verify_key_lists(parse_key_lists(get_key_lists()))
    statement = verify_release(Envelope.parse(release.envelope), keys).statement
    return verify_provenance(json.loads(release.provenance), statement, keys.public_keys)


@pytest.fixture
def variant_of_job(variant, job_of, held, project):
    """The variant, made by a job of a table that is a version of a dataset."""
    table = held(b"rows", project)
    job = job_of(KIND, {"table": table}, {"model": variant.artifact})
    job.spec = json.dumps({"seed": 7})
    job.save()
    JobProvenance.objects.create(job=job, attempt=1, code_digest="c" * 64)
    variant.job_id = job.pk
    variant.save()
    file = End("artifact", variant.artifact_id, variant.artifact_id)
    maker, data = End("job", str(job.pk)), End("dataset_version", "12", "d" * 64, "salaries v3")
    chain = [data, maker, file, End("variant", str(variant.pk), variant.artifact_id)]
    for source, target in pairwise(chain):
        Edge.objects.create(project=project, **vars_of(EdgeSpec.between(source, target, "table")))
    return variant, job


def vars_of(edge):
    return {name: getattr(edge, name) for name in EdgeSpec.__dataclass_fields__}


def test_it_says_what_went_in_and_by_which_job(variant_of_job, issue):
    variant, job = variant_of_job
    release = issue(variant)
    provenance = verify(release)
    assert (provenance.file_name, provenance.sha256) == (variant.file, variant.artifact_id)
    assert provenance.builder == f"urn:deepseek-offline:plane:{get_fingerprint()}"
    assert (provenance.parameters, provenance.invocation) == ({"kind": KIND, "spec": {"seed": 7}}, f"job/{job.pk}")
    table = JobInput.objects.get(job=job).artifact_id
    assert provenance.dependencies == (
        Dependency("input/table", table),
        Dependency("dataset_version/12", "d" * 64),
        Dependency(f"code/{job.pk}", "c" * 64),
    )
    assert "salaries" not in Envelope.parse(release.provenance).payload.decode()
    record = AuditRecord.objects.get(action="release.issue")
    assert json.loads(record.body)["digests"]["provenance"] == Envelope.parse(release.provenance).digest


@pytest.mark.parametrize("spec", [{"text": "x" * 300_000}, json.loads("[" * 13 + "]" * 13)])
def test_a_spec_that_no_envelope_holds_is_named_by_its_digest(variant_of_job, issue, spec):
    variant, job = variant_of_job
    job.spec = json.dumps(spec)
    job.save()
    assert sorted(verify(issue(variant)).parameters) == ["kind", "spec_sha256"]


def test_a_variant_that_no_job_here_made_has_what_the_lineage_knows(variant, issue):
    variant.job_id = None
    variant.save()
    provenance = verify(issue(variant))
    assert (provenance.parameters, provenance.invocation) == ({}, "")
    assert provenance.sha256 == variant.artifact_id


def test_rest_gives_it_and_releases_from_before_have_none(variant, issue, web, engineer, url):
    release = issue(variant)
    document = web(engineer).get(url(f"/{release.pk}")).json()["provenance"]
    assert document == json.loads(release.provenance)
    Release.objects.update(provenance="")
    assert web(engineer).get(url(f"/{release.pk}")).json()["provenance"] is None


def test_a_poll_brings_it(variant, issue, monkeypatch):
    class Assignment:
        pk, state, deadline = 4, "offered", None

    release = Assignment.release = issue(variant)
    monkeypatch.setattr("apps.fleet.devices.polling.get_offered_assignment", lambda device: Assignment)
    monkeypatch.setattr("apps.fleet.devices.polling.mark_fetched", lambda assignment: True)
    assert describe_assignment(None)["provenance"] == json.loads(release.provenance)
