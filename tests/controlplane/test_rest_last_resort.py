"""Django's own handlers speak JSON below /api/ and HTML elsewhere."""

from __future__ import annotations

import json

import pytest
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation, TooManyFilesSent
from django.http import Http404

from controlplane import errors

CASES = [
    (lambda request: errors.bad_request(request, SuspiciousOperation("secret")), 400, "bad_request"),
    (lambda request: errors.bad_request(request, RequestDataTooBig("secret")), 413, "too_large"),
    (lambda request: errors.bad_request(request, TooManyFilesSent("secret")), 400, "too_many_files"),
    (lambda request: errors.permission_denied(request, PermissionDenied("secret")), 403, "refused"),
    (lambda request: errors.page_not_found(request, Http404("secret")), 404, "not_found"),
    (errors.server_error, 500, "server_error"),
    (errors.csrf_failure, 403, "csrf_failed"),
]


@pytest.mark.parametrize(("handler", "status", "code"), CASES)
def test_programs_get_json(rf, handler, status, code):
    answer = handler(rf.get("/api/v1/x"))
    assert (answer.status_code, json.loads(answer.content)["error"]["code"]) == (status, code)
    assert b"secret" not in answer.content


@pytest.mark.parametrize(("handler", "status", "code"), CASES)
def test_people_get_a_page(rf, db, handler, status, code):
    answer = handler(rf.get("/somewhere"))
    assert answer.status_code == status
    assert answer.headers["Content-Type"].startswith("text/html")
    assert b"secret" not in answer.content
