"""Data with a security label is in no bundle: on the target the label would hold nobody back."""

import io
from dataclasses import replace

import pytest

from apps.core.errors import Invalid, NotFound
from apps.data.datasets.models import Dataset, DatasetFile
from apps.data.datasets.services import add_files
from apps.platform.artifacts.services import publish_upload
from apps.site.transfer import queries, services
from apps.site.transfer.models import OutgoingBundle
from apps.site.transfer.services.outgoing import build_reader
from deepseek.bundles.spec import encode_inventory
from tests.apps.site.transfer.conftest import TARGET


@pytest.fixture
def request_data(site, project, held):
    """Ask for a bundle with one dataset version."""
    files = [("a", held(b"rows").pk, "text/plain")]
    add_files(actor=site.builder, project=project, dataset_name="wti", files=files)
    text = encode_inventory(TARGET, "2026-11-30T09:00:00Z", [])
    inventory = publish_upload(actor=site.builder, project=project, stream=io.BytesIO(text), name="inventory.json")

    def ask():
        return services.request_bundle(
            actor=site.builder, project=project, contents=["data/wti:v1"], inventory=inventory.artifact.digest
        )

    return ask


def test_labelled_data_is_refused_when_it_is_asked_for_and_when_it_is_built(request_data, site, project):
    early = request_data()
    Dataset.objects.update(security_label=1)
    assert not Dataset.objects.visible_to(build_reader(project.pk)).exists()
    services.build_bundle(actor=site.worker, bundle=early)
    assert (early.state, early.error["code"]) == ("failed", "content_unknown")
    site.builder = replace(site.builder, clearance=3)
    with pytest.raises(Invalid) as caught:
        request_data()
    assert (caught.value.code, caught.value.first()["field"]) == ("content_labelled", "/contents")


def test_an_inventory_has_no_digests_of_what_its_reader_may_not_see(request_data, site, project):
    before = queries.list_inventory_digests(site.builder, project)
    Dataset.objects.update(security_label=1)
    hidden = set(before) - set(queries.list_inventory_digests(site.builder, project))
    assert hidden == set(DatasetFile.objects.values_list("artifact_id", flat=True))


def test_a_bundle_is_not_there_for_whoever_may_not_see_its_data_any_more(request_data, site, project):
    bundle = request_data()
    assert queries.get_outgoing(site.builder, project, bundle.pk) == bundle
    Dataset.objects.update(security_label=1)
    with pytest.raises(NotFound):
        queries.get_outgoing(site.builder, project, bundle.pk)
    assert not queries.list_outgoing(site.builder, project).exists()
    site.builder = replace(site.builder, clearance=1)
    assert queries.get_outgoing(site.builder, project, bundle.pk) == OutgoingBundle.objects.get()
