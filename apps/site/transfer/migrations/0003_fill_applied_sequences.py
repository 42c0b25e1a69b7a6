from django.db import migrations
from django.db.models import Max


def fill(apps, schema_editor):
    """The newest bundle of each source that each project applied; and for a plane as a whole that of the newest bundle
    which changed it. A migration of its own: PostgreSQL changes no table that has rows whose constraints it has not
    checked yet.
    """
    bundles = apps.get_model("transfer", "IncomingBundle").objects.filter(state="applied")
    sequences, peers = apps.get_model("transfer", "AppliedSequence"), apps.get_model("transfer", "PeerPlane")
    newest = bundles.order_by().values_list("project_id", "source_id").annotate(Max("sequence"))
    sequences.objects.bulk_create(
        [sequences(project_id=project, source_id=source, sequence=sequence) for project, source, sequence in newest],
        ignore_conflicts=True,
    )
    peers.objects.update(applied_sequence=0)
    changes = bundles.filter(plane_contents=True).order_by().values_list("source_id").annotate(Max("sequence"))
    for source, sequence in changes:
        peers.objects.filter(plane_id=source).update(applied_sequence=sequence)


class Migration(migrations.Migration):
    dependencies = [("transfer", "0002_applied_sequences")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop, elidable=True)]
