"""What the pages of federation need: a table of a site, and what its jobs would report. Run in the plane's home."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_pem_private_key

from apps.core.actors import PlaneRole, build_plane_actor
from apps.data.datasets.services import add_files
from apps.ml.federation import services
from apps.ml.federation.key_cipher import decrypt_key
from apps.ml.federation.models import SiteStudy, Study
from apps.platform.accounts.actors import build_actor_for_user
from apps.platform.accounts.models import Project, User
from apps.platform.artifacts.services import store_file
from apps.platform.audit.services import change_state
from deepseek.federated.ledger import EgressLedger
from deepseek.federated.spec import EgressRule
from deepseek.signing.keys import FileSigner

ROWS = "age,sex,disease\n63,1,0\n67,1,1\n41,0,0\n"
AUC = {"value": 0.81, "low": 0.72, "high": 0.88}


def add_table() -> None:
    """The dataset version patients:v1."""
    project, path = Project.objects.get(slug="demo"), Path(os.environ["PLANE_HOME"]) / "patients.csv"
    engineer = build_actor_for_user(User.objects.get(username="engineer"))
    path.write_text(ROWS)
    artifact = store_file(actor=engineer, project=project, path=path, name=path.name)
    add_files(actor=engineer, project=project, dataset_name="patients", files=[(path.name, artifact.digest, "")])


def report_rounds() -> None:
    """Two updates and a refusal in the ledger of the site; of the study its rounds and its result."""
    worker, row = build_plane_actor(PlaneRole.WORKER), SiteStudy.objects.get(name="heart")
    signer = FileSigner(load_pem_private_key(decrypt_key(row.ledger_key).encode(), password=None))
    path = Path(os.environ["PLANE_HOME"]) / "ledger.jsonl"
    with EgressLedger.open(path, study=row.digest, site=row.site, signer=signer) as ledger:
        facts = {"kind": "update", "rule": EgressRule(), "max_abs": 0.1}
        for number in (1, 2):
            ledger.record(b"%d" % number, round=number, norm=0.8, epsilon=1.5 * number, **facts)
        ledger.record_refusal(b"3", round=3, reason="privacy_budget_spent", epsilon=3.0)
        lines = [entry.model_dump(mode="json") for entry in ledger.entries]
    services.record_ledger_entries(actor=worker, site_study=row, entries=lines)
    study = Study.objects.get(name="heart")
    for number in (1, 2):
        services.record_round(actor=worker, study=study, number=number, sites_count=2, epsilon=1.5 * number)
    metrics = {"federated": AUC, "local": {**AUC, "value": 0.7}}
    result = {"sites": [{"name": "cleveland", "metrics": metrics, "updates": 2}]}
    change_state(study, "running", actor=worker)
    change_state(study, "completed", actor=worker, result=result)
