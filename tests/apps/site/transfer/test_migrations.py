"""The numbers of applied bundles of an older plane become numbers of its projects."""

from importlib import import_module
from types import SimpleNamespace

from django.apps import apps

from apps.site.transfer.models import AppliedSequence, IncomingBundle, PeerPlane

SOURCE, OTHER = "a" * 32, "b" * 32


def add_bundle(project, sequence, state, *, source=SOURCE, plane_contents=False):
    IncomingBundle.objects.create(
        project=project,
        bundle_id=f"{sequence:032d}",
        source_id=source,
        source_name="source",
        sequence=sequence,
        manifest="{}",
        manifest_digest=f"{sequence:064d}",
        envelope="{}",
        state=state,
        plane_contents=plane_contents,
        received_by="x",
    )


def test_numbers_are_filled_by_project_and_source(db, project, other_project):
    for source in (SOURCE, OTHER):
        PeerPlane.objects.create(plane_id=source, name=source, applied_sequence=9)
    add_bundle(project, 3, "applied", plane_contents=True)
    add_bundle(project, 5, "applied")
    add_bundle(project, 8, "checked")
    add_bundle(other_project, 9, "applied")
    add_bundle(other_project, 4, "applied", source=OTHER)
    fill = import_module("apps.site.transfer.migrations.0003_fill_applied_sequences").fill
    fill(apps, SimpleNamespace())
    rows = set(AppliedSequence.objects.values_list("project__slug", "source_id", "sequence"))
    assert rows == {("demo", SOURCE, 5), ("other", SOURCE, 9), ("other", OTHER, 4)}
    assert dict(PeerPlane.objects.values_list("plane_id", "applied_sequence")) == {SOURCE: 3, OTHER: 0}
