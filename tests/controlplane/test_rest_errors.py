"""Whatever a view raises becomes one shape; nothing shows a trace."""

from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, OperationalError
from django.http import Http404
from rest_framework import exceptions, serializers
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from apps.core.actors import PlaneRole, build_plane_actor
from apps.core.errors import Conflict, Invalid, Refused, TooMany, Unauthenticated, Unavailable
from apps.platform.audit.models import AuditRecord


class Step(serializers.Serializer):
    window = serializers.IntegerField(max_value=10)


class Spec(serializers.Serializer):
    name = serializers.CharField()
    steps = Step(many=True)

    def validate(self, values):
        raise serializers.ValidationError("these do not go together", code="combination")


class Broken(APIView):
    authentication_classes: list = []
    permission_classes: list = []
    error: Exception | None = None

    def post(self, request):
        request._request.actor = build_plane_actor(PlaneRole.WORKER)
        if self.error:
            raise self.error
        Spec(data=request.data).is_valid(raise_exception=True)


def answer_to(error=None, method="post", **body):
    request = getattr(APIRequestFactory(), method)("/x", **body)
    answer = Broken.as_view(error=error)(request).render()
    assert set(answer.data["error"]) == {"code", "message", "field", "limit", "hint", "errors"}
    assert all(set(entry) == {"code", "message", "field", "limit", "hint"} for entry in answer.data["error"]["errors"])
    return answer


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Invalid("x", code="own_code", field="f"), 422, "own_code"),
        (Conflict("x"), 409, "conflict"),
        (Unauthenticated("x"), 401, "unauthenticated"),
        (TooMany("x"), 429, "too_many"),
        (Unavailable("x"), 503, "unavailable"),
        (exceptions.NotAuthenticated(), 401, "unauthenticated"),
        (exceptions.AuthenticationFailed(), 401, "unauthenticated"),
        (exceptions.NotFound(), 404, "not_found"),
        (Http404(), 404, "not_found"),
        (exceptions.ParseError(), 400, "malformed"),
        (exceptions.Throttled(wait=3.2), 429, "too_many"),
        (exceptions.PermissionDenied(), 403, "refused"),
        (exceptions.PermissionDenied("CSRF Failed: token"), 403, "csrf_failed"),
        (PermissionDenied(), 403, "refused"),
        (exceptions.UnsupportedMediaType("a/b"), 415, "unsupported_media_type"),
        (OperationalError("connection refused"), 503, "database_unreachable"),
        (OperationalError("database is locked"), 503, "database_busy"),
        (OSError(28, "No space left on device"), 507, "storage_full"),
        (IntegrityError("UNIQUE secret"), 500, "server_error"),
        (KeyError("secret"), 500, "server_error"),
        (RecursionError("secret"), 500, "server_error"),
    ],
)
def test_every_exception_has_its_answer(error, status, code):
    answer = answer_to(error)
    assert (answer.status_code, answer.data["error"]["code"]) == (status, code)
    assert b"secret" not in answer.content
    assert b"Traceback" not in answer.content


@pytest.mark.parametrize(
    ("error", "header", "value"),
    [
        (Unauthenticated("x"), "WWW-Authenticate", 'Bearer realm="plane"'),
        (Unavailable("x"), "Retry-After", "5"),
        (exceptions.Throttled(wait=3.2), "Retry-After", "4"),
        (Conflict("x"), "Cache-Control", "no-store"),
    ],
)
def test_headers(error, header, value):
    assert answer_to(error).headers[header] == value


def test_a_refusal_is_recorded(db):
    assert answer_to(Refused("no", action="artifact.upload", project_id=None)).status_code == 403
    assert AuditRecord.objects.get(result="refused").action == "artifact.upload"


def test_a_defect_is_logged_with_its_trace(caplog):
    answer_to(KeyError("secret"))
    assert caplog.records[-1].exc_info[0] is KeyError


def test_all_errors_of_a_serializer_with_their_pointers():
    error = answer_to(data={"steps": [{"window": 5}, {"window": 11}, {}]}, format="json").data["error"]
    assert [(e["field"], e["code"]) for e in error["errors"]] == [
        ("/name", "required"),
        ("/steps/1/window", "max_value"),
        ("/steps/2/window", "required"),
    ]
    assert error["field"] == "/name"


def test_an_error_of_the_whole_has_no_field():
    error = answer_to(data={"name": "a", "steps": []}, format="json").data["error"]
    assert (error["field"], error["code"]) == (None, "combination")


def test_another_verb():
    answer = answer_to(method="delete")
    assert (answer.status_code, answer.data["error"]["code"]) == (405, "method_not_allowed")
    assert "POST" in answer.headers["Allow"]


@pytest.mark.parametrize(("body", "status"), [(b"[" * 100_000, 400), (b"x" * 2_000_000, 413), (b"{", 400)])
def test_a_body_that_cannot_be_read(body, status):
    assert answer_to(data=body, content_type="application/json").status_code == status
