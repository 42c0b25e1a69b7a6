"""Two planes in one database: what this plane is called changes between the building of a bundle and its receiving."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest

from apps.ml.experiments.metrics.series import compute_run_digest
from apps.ml.experiments.models import Run
from apps.platform.accounts.reauthentication import Proof
from apps.platform.approvals import services as approvals
from apps.platform.artifacts.services import publish_upload
from apps.site.transfer import services
from apps.site.transfer.folders import get_outgoing_folder
from apps.site.transfer.identity import get_identity
from apps.site.transfer.models import BundleSigner, IncomingBundle, PlaneIdentity
from deepseek.bundles.signatures import add_signature, compute_fingerprint
from deepseek.bundles.spec import BundleManifest, PlaneRef, encode_inventory
from deepseek.signing.keys import compute_key_id, encode_public_key, generate_key
from tests.apps.ml.registry.conftest import (  # noqa: F401  fixtures
    _own_store,
    default_experiment,
    forms,
    held,
    job_of,
    registered,
    store_files,
)
from tests.conftest import member

SOURCE, TARGET = PlaneRef("a" * 32, "source"), PlaneRef("c" * 32, "target")
KEYS = {person: generate_key() for person in ("Ada", "Bo", "Cy")}
VOLUME_BYTES = 1 << 20


def become(plane):
    """From now on this plane is `plane`."""
    get_identity()
    PlaneIdentity.objects.update(plane_id=plane.id, name=plane.name)


def trust(project, *people, source=SOURCE):
    """The rows that proposing and approving leave: test_signers.py has those."""
    for person in people:
        key = KEYS[person].public_key
        BundleSigner.objects.create(
            project=project,
            source_id=source.id,
            source_name=source.name,
            person=person,
            public_key=encode_public_key(key),
            key_id=compute_key_id(key),
            fingerprint=compute_fingerprint(key),
            state="trusted",
            proposed_by="x",
        )


def sign(manifest, *people):
    envelope = None
    for person in people:
        envelope = add_signature(manifest, envelope, KEYS[person])
    return envelope.to_document()


@pytest.fixture
def site(project, other_project, engineer, approver, actor_for, worker_actor):
    """The people of both planes: `project` is on the source, `other_project` on the target."""
    receiver = member(other_project, "receiver", "engineer")
    decider = member(other_project, "decider", "approver")
    become(SOURCE)
    return SimpleNamespace(
        builder=actor_for(engineer),
        receiver=actor_for(receiver),
        decider=actor_for(decider),
        decider_user=decider,
        worker=worker_actor,
    )


@pytest.fixture
def build(site, project):
    """build(*references, present=digests, target=TARGET) -> (folder, manifest) of a built bundle."""

    def make(*references, present=(), target=TARGET):
        # The runs of the registry's fixtures have no points, whatever their digest says.
        Run.objects.filter(metrics_digest="d" * 64).update(metrics_digest=compute_run_digest([]))
        text = encode_inventory(target, "2026-11-30T09:00:00Z", list(present))
        uploaded = publish_upload(actor=site.builder, project=project, stream=io.BytesIO(text), name="inventory.json")
        bundle = services.request_bundle(
            actor=site.builder,
            project=project,
            contents=references,
            inventory=uploaded.artifact.digest,
            volume_bytes=VOLUME_BYTES,
        )
        services.build_bundle(actor=site.worker, bundle=bundle)
        assert bundle.state == "built", bundle.error
        return get_outgoing_folder(bundle), BundleManifest.parse(bundle.manifest.encode())

    return make


@pytest.fixture
def receive(site, other_project):
    """receive(folder, manifest, *people) -> the bundle in quarantine, with all of its volumes."""

    def take(folder, manifest, *people):
        become(TARGET)
        document = sign(manifest, *(people or ("Ada", "Bo")))
        bundle = services.receive_envelope(actor=site.receiver, project=other_project, document=document)
        for volume in manifest.volumes:
            with (folder / volume.name).open("rb") as file:
                services.receive_volume(actor=site.receiver, bundle=bundle, number=volume.number, stream=file)
        return bundle

    return take


@pytest.fixture
def check(site):
    """check(bundle) -> it as the worker leaves it."""

    def examine(bundle):
        services.request_check(actor=site.receiver, bundle=bundle)
        return services.check_bundle(actor=site.worker, bundle=bundle)

    return examine


@pytest.fixture
def approve(site):
    """approve(approval) -> it, decided by the approver of the target."""

    def decide(approval):
        proof = Proof(user_id=site.decider_user.pk, method="password")
        return approvals.approve(
            actor=site.decider, approval=approval, facts_digest=approval.facts_digest, reason="Seen.", proof=proof
        )

    return decide


@pytest.fixture
def load(site, approve):
    """load(bundle) -> it after it was asked for, approved, and loaded by the worker."""

    def go(bundle):
        approve(services.request_application(actor=site.receiver, bundle=bundle))
        bundle = IncomingBundle.objects.select_related("project").get(pk=bundle.pk)
        services.load_bundle(actor=site.worker, bundle=bundle)
        assert bundle.state == "applied", bundle.error
        return bundle

    return go


@pytest.fixture
def carried(site, other_project, build, receive, check):
    """carried(*references) -> a bundle in quarantine, checked, signed by two people whom the target trusts."""

    def carry(*references, **more):
        trust(other_project, "Ada", "Bo")
        return check(receive(*build(*references, **more)))

    return carry
