"""Bearer tokens: who is answered, and files that hold none."""

import hashlib

import pytest
from starlette.testclient import TestClient

from deepseek.job import EngineError
from deepseek.serve.app import create_app
from deepseek.serve.tokens import read_tokens
from tests.deepseek.models.making import make_model
from tests.deepseek.serve.conftest import load_models

TOKENS = ("first-token-0123456789", "second-token-0123456789")


@pytest.fixture
def guarded(tmp_path):
    make_model(tmp_path / "wti")
    path = tmp_path / "tokens"
    path.write_text(f"# of the plane\n\n{TOKENS[0]}\nsha256:{hashlib.sha256(TOKENS[1].encode()).hexdigest()}\n")
    return TestClient(create_app(load_models(tmp_path / "wti"), tokens=read_tokens(path)))


def test_each_token_opens_everything(guarded):
    for token in TOKENS:
        guarded.headers["Authorization"] = f"Bearer {token}"
        assert guarded.post("/predict", json={"features": [1, 2, 3, 4, 5]}).status_code == 200
        paths = ("/model", "/models", "/metrics", "/openapi.json", "/v2", "/v2/models/wti")
        assert {guarded.get(path).status_code for path in paths} == {200}


def test_without_one_only_health_is_answered(guarded, refused):
    cases = {None: "unauthenticated", f"Bearer {TOKENS[0]}x": "token_unknown", f"Basic {TOKENS[0]}": "token_unknown"}
    cases["Bearer"] = "token_unknown"
    for value, code in cases.items():
        headers = {"Authorization": value} if value else {}
        for path in ("/predict", "/models/wti/predict", "/nothing"):
            answer = guarded.post(path, json={"features": [1, 2, 3, 4, 5]}, headers=headers)
            refused(answer, 401, code)
            assert answer.headers["www-authenticate"] == "Bearer"
        for path in ("/metrics", "/model", "/openapi.json"):
            refused(guarded.get(path, headers=headers), 401, code)
        answer = guarded.post("/v2/models/wti/infer", json={}, headers=headers)
        assert (answer.status_code, set(answer.json())) == (401, {"error"})
        for path in ("/healthz", "/v2/health/live", "/v2/health/ready"):
            assert guarded.get(path, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "text", [None, "", "# nothing\n", "short\n", f"{TOKENS[0]} and more\n", "sha256:12\n", "ü" * 20]
)
def test_files_that_hold_no_tokens(tmp_path, text):
    path = tmp_path / "tokens"
    if text is not None:
        path.write_text(text)
    with pytest.raises(EngineError) as failure:
        read_tokens(path)
    assert failure.value.code == "token_file_invalid"
    assert "and more" not in failure.value.message
