"""A release that is right in every part, for tests to spoil one part of."""

import pytest

from deepseek.signing.keys import FileSigner, generate_key
from deepseek.signing.statements import Decision, ReleaseApproval, ReleaseFile, ReleaseStatement

AT = "2026-11-29T15:44:48Z"


@pytest.fixture(scope="session")
def key() -> FileSigner:
    return generate_key()


@pytest.fixture(scope="session")
def other_key() -> FileSigner:
    return generate_key()


@pytest.fixture(scope="session")
def statement() -> ReleaseStatement:
    return ReleaseStatement(
        project="wti",
        model="price",
        version=3,
        variant="int8",
        format="onnx",
        architecture="any",
        sequence=7,
        issued_at=AT,
        files=(
            ReleaseFile("model.json", 900, "a" * 64),
            ReleaseFile("model.onnx", 20_000, "b" * 64),
            ReleaseFile("samples.json", 4_000, "c" * 64),
        ),
        samples="samples.json",
        approval=ReleaseApproval(12, "promotion", "d" * 64, (Decision("ada", "approve", AT),)),
    )
