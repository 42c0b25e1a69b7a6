"""A study of two sites, all on this plane: its coordinator is one project, its sites are another one."""

from __future__ import annotations

import pytest

from apps.data.datasets.services import add_files
from apps.ml.federation import exports, services
from apps.platform.accounts.reauthentication import Proof
from apps.platform.approvals.services import approve
from apps.platform.artifacts.services import store_file
from tests.conftest import member
from tests.ports import find_free_port

COLUMNS = [
    {"name": "age", "kind": "number", "low": 0, "high": 100},
    {"name": "sex", "kind": "category", "categories": ["f", "m"]},
    {"name": "ill", "kind": "category", "categories": ["no", "yes"]},
]
DOCUMENT = {"schema": {"columns": COLUMNS, "target": "ill"}, "rounds": 2, "learning_rate": 0.5}
SITES = ("north", "south")


def build_table(shift: int) -> str:
    rows = [
        f"{20 + (row * 7 + shift) % 60},{'fm'[row % 2]},{'yes' if (row * 7 + shift) % 60 > 30 else 'no'}"
        for row in range(60)
    ]
    return "\n".join(["age,sex,ill", *rows]) + "\n"


@pytest.fixture
def port() -> int:
    return find_free_port()


@pytest.fixture
def worker(worker, settings, engine_processes, port):
    """A worker that may coordinate studies and take part in them."""
    update = {"federation_servers": [f"127.0.0.1:{port}"], "federation_ports": [port]}
    settings.ENV = settings.ENV.model_copy(update=update)
    worker.heartbeat.homes.next_look = float("inf")  # its thread sees nothing of a test's transaction
    worker.node.extras = ["federation"]
    worker.node.save()
    return worker


@pytest.fixture
def coordinator(engineer, actor_for):
    return actor_for(engineer)


@pytest.fixture
def hospital(other_project, actor_for):
    return actor_for(member(other_project, "hospital", "engineer"))


@pytest.fixture
def study(coordinator, project, port):
    return services.create_study(
        actor=coordinator, project=project, name="heart", host="127.0.0.1", port=port, document=DOCUMENT
    )


@pytest.fixture
def site_studies(study, coordinator, hospital, other_project, actor_for, tmp_path):
    """Both sites: certified, with data, approved."""
    doctor = member(other_project, "doctor", "approver")
    rows = []
    for shift, name in enumerate(SITES):
        site = services.invite_site(actor=coordinator, study=study, name=name)
        study.refresh_from_db()
        invitation = exports.render_site_invitation(coordinator, site)
        row = services.import_study(actor=hospital, project=other_project, content=invitation)
        site = services.enrol_site(actor=coordinator, site=site, content=exports.render_site_request(hospital, row))
        certificate = exports.render_site_certificate(coordinator, site)
        services.store_certificate(actor=hospital, site_study=row, content=certificate)
        path = tmp_path / f"{name}.csv"
        path.write_text(build_table(shift))
        artifact = store_file(actor=hospital, project=other_project, path=path, name=path.name)
        files = [(path.name, artifact.digest, "")]
        version = add_files(actor=hospital, project=other_project, dataset_name=name, files=files)[0]
        services.bind_data(actor=hospital, site_study=row, version=version)
        approval = services.request_participation(actor=hospital, site_study=row)
        proof = Proof(user_id=doctor.pk, method="password")
        digest = approval.facts_digest
        approve(actor=actor_for(doctor), approval=approval, facts_digest=digest, reason="Agreed.", proof=proof)
        row.refresh_from_db()
        rows.append(row)
    return rows
