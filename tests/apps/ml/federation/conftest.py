"""A study of two sites, of which this plane is both the coordinator and a site, in two projects."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from apps.core.canonical import encode_canonical_json
from apps.data.datasets.services import add_files
from apps.ml.federation import exports, services
from apps.ml.federation.key_cipher import decrypt_key
from apps.ml.federation.models import SiteStudy, Study
from apps.platform.accounts.reauthentication import Proof
from apps.platform.approvals.services import approve
from apps.platform.artifacts.services import store_file
from deepseek.federated.ledger import EgressLedger
from deepseek.federated.spec import EgressRule
from deepseek.signing.keys import FileSigner
from tests.conftest import member

SCHEMA = {
    "target": "disease",
    "columns": [
        {"name": "age", "kind": "number", "low": 0, "high": 110},
        {"name": "sex", "kind": "category", "categories": ["0", "1"]},
        {"name": "disease", "kind": "category", "categories": ["0", "1"]},
    ],
}
DOCUMENT = {"schema": SCHEMA, "rounds": 3, "privacy": {"epsilon": 4.0}}
ROWS = "age,sex,disease\n63,1,0\n67,1,1\n41,0,0\n"


@pytest.fixture
def actor(engineer, actor_for):
    return actor_for(engineer)


@pytest.fixture
def study(actor, project) -> Study:
    return services.create_study(
        actor=actor, project=project, name="heart", host="127.0.0.1", port=8102, document=DOCUMENT
    )


@pytest.fixture
def add_table(tmp_path):
    """add_table(actor, project, text, name) -> a dataset version of one CSV file."""

    def add(actor, project, text=ROWS, name="patients"):
        path = tmp_path / f"{name}.csv"
        path.write_text(text)
        artifact = store_file(actor=actor, project=project, path=path, name=path.name)
        return add_files(actor=actor, project=project, dataset_name=name, files=[(path.name, artifact.digest, "")])[0]

    return add


@pytest.fixture
def hospital(other_project):
    """The engineer of a site, which is the other project."""
    return member(other_project, "hospital", "engineer")


@pytest.fixture
def doctor(other_project):
    return member(other_project, "doctor", "approver")


@pytest.fixture
def site_actor(hospital, actor_for):
    return actor_for(hospital)


@pytest.fixture
def invite(actor, study):
    """invite(name) -> the text of the invitation of a new site."""

    def make(name="cleveland") -> str:
        site = services.invite_site(actor=actor, study=study, name=name)
        study.refresh_from_db()
        return exports.render_site_invitation(actor, site)

    return make


@pytest.fixture
def imported(invite, site_actor, other_project) -> SiteStudy:
    return services.import_study(actor=site_actor, project=other_project, content=invite())


@pytest.fixture
def enrol(actor, study, site_actor):
    """enrol(site_study): its request goes to the coordinator, and the certificate comes back."""

    def carry(row: SiteStudy) -> SiteStudy:
        site = study.sites.get(name=row.site)
        site = services.enrol_site(actor=actor, site=site, content=exports.render_site_request(site_actor, row))
        return services.store_certificate(
            actor=site_actor, site_study=row, content=exports.render_site_certificate(actor, site)
        )

    return carry


@pytest.fixture
def decide(actor_for, doctor):
    """decide(approval): the approver of the site votes for it."""

    def vote(approval):
        proof = Proof(user_id=doctor.pk, method="password")
        return approve(
            actor=actor_for(doctor),
            approval=approval,
            facts_digest=approval.facts_digest,
            reason="It fits our agreement.",
            proof=proof,
        )

    return vote


@pytest.fixture
def approved(imported, enrol, site_actor, add_table, decide, other_project) -> SiteStudy:
    """The study of the site: certified, with data, approved."""
    enrol(imported)
    version = add_table(site_actor, other_project)
    services.bind_data(actor=site_actor, site_study=imported, version=version)
    decide(services.request_participation(actor=site_actor, site_study=imported))
    imported.refresh_from_db()
    return imported


@pytest.fixture
def write_ledger(tmp_path):
    """write_ledger(site_study, rounds) -> the lines that the site's process writes."""

    def write(row: SiteStudy, rounds=2, name="ledger.jsonl"):
        key = load_pem_private_key(decrypt_key(row.ledger_key).encode(), password=None)
        signer = FileSigner(key)
        with EgressLedger.open(tmp_path / name, study=row.digest, site=row.site, signer=signer) as ledger:
            for number in range(1, rounds + 1):
                ledger.record(
                    f"update {number}".encode(),
                    kind="update",
                    round=number,
                    rule=EgressRule(),
                    norm=1.0,
                    max_abs=0.5,
                    epsilon=0.1 * number,
                )
            return [entry.model_dump(mode="json") for entry in ledger.entries]

    return write


def edit(text: str, **changes) -> str:
    """The text of a file of another plane with members changed."""
    return encode_canonical_json({**json.loads(text), **changes})
