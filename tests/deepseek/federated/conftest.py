"""A small study, and the key of one site."""

from __future__ import annotations

import pytest

from deepseek.federated.spec import StudySpec
from deepseek.signing.keys import FileSigner, generate_key


def build_study_document(**changes) -> dict:
    columns = [
        {"name": "age", "kind": "number", "low": 0, "high": 100},
        {"name": "sex", "kind": "category", "categories": ["f", "m"]},
        {"name": "ill", "kind": "category", "categories": ["no", "yes"]},
    ]
    document = {"name": "Heart", "schema": {"columns": columns, "target": "ill"}, "code_digest": "c" * 64}
    return document | changes


@pytest.fixture
def build_study():
    """build_study(**changes) -> a StudySpec."""
    return lambda **changes: StudySpec.model_validate(build_study_document(**changes))


@pytest.fixture(scope="session")
def signer() -> FileSigner:
    return generate_key()
