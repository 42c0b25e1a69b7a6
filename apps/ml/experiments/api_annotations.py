"""REST API of run annotations: note, tags, deletion and restoring."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.data.datasets.requests import validate_body
from apps.ml.experiments.api import get_visible_run
from apps.ml.experiments.keys import KEY_LIMIT, TAG_LIMIT
from apps.ml.experiments.models import Run
from apps.ml.experiments.queries import get_note, list_tags
from apps.ml.experiments.services import annotations

KEY = OpenApiParameter("key", str, required=True, description="Key of the tag.")
REASON = OpenApiParameter("reason", str, description="Goes into the audit trail.")


class NoteBody(serializers.Serializer[Any]):
    text = serializers.CharField(
        allow_blank=True,
        trim_whitespace=False,
        help_text=f"Markdown, {TAG_LIMIT} characters at most; empty removes the note.",
    )
    revision = serializers.CharField(
        required=False, help_text="The one that was read: 409 `stale_state` where the note has changed since."
    )


class RunTagBody(serializers.Serializer[Any]):
    key = serializers.CharField(trim_whitespace=False, help_text=f"1 to {KEY_LIMIT} characters.")
    value = serializers.CharField(
        allow_blank=True, trim_whitespace=False, default="", help_text=f"At most {TAG_LIMIT} characters."
    )


class RunTagSerializer(serializers.Serializer[Any]):
    key = serializers.CharField()
    value = serializers.CharField()


class NoteView(APIView):
    """The note of a run, in Markdown. MLflow's clients know it as the tag mlflow.note.content."""

    @extend_schema(operation_id="run_note_read", responses=NoteBody)
    def get(self, request: Request, project: str, run: str) -> Response:
        return render_note(request, get_visible_run(request, project, run))

    @extend_schema(operation_id="run_note_set", request=NoteBody, responses=NoteBody)
    def put(self, request: Request, project: str, run: str) -> Response:
        visible_run = get_visible_run(request, project, run)
        annotations.set_note(actor=request.actor, run=visible_run, **validate_body(NoteBody, request.data))
        return render_note(request, visible_run)


class TagsView(APIView):
    """The tags of a run."""

    @extend_schema(operation_id="run_tags_list", responses=RunTagSerializer(many=True))
    def get(self, request: Request, project: str, run: str) -> Response:
        return render_tags(request, get_visible_run(request, project, run))

    @extend_schema(operation_id="run_tags_set", request=RunTagBody, responses=RunTagSerializer(many=True))
    def post(self, request: Request, project: str, run: str) -> Response:
        """Set one tag; answers with all of them."""
        visible_run = get_visible_run(request, project, run)
        annotations.set_run_tag(actor=request.actor, run=visible_run, **validate_body(RunTagBody, request.data))
        return render_tags(request, visible_run)

    @extend_schema(operation_id="run_tags_delete", parameters=[KEY], responses={204: None})
    def delete(self, request: Request, project: str, run: str) -> Response:
        visible_run = get_visible_run(request, project, run)
        annotations.delete_run_tag(actor=request.actor, run=visible_run, key=request.query_params.get("key", ""))
        return Response(status=status.HTTP_204_NO_CONTENT)


class DeleteView(APIView):
    @extend_schema(operation_id="run_delete", request=None, parameters=[REASON], responses={204: None})
    def post(self, request: Request, project: str, run: str) -> Response:
        """Put the run away: lists leave it out, nothing writes it, and it can be restored."""
        visible_run = get_visible_run(request, project, run)
        annotations.delete_run(actor=request.actor, run=visible_run, reason=request.query_params.get("reason", ""))
        return Response(status=status.HTTP_204_NO_CONTENT)


class RestoreView(APIView):
    @extend_schema(operation_id="run_restore", request=None, responses={204: None})
    def post(self, request: Request, project: str, run: str) -> Response:
        """Bring a deleted run back as it was."""
        annotations.restore_run(actor=request.actor, run=get_visible_run(request, project, run))
        return Response(status=status.HTTP_204_NO_CONTENT)


def render_note(request: Request, run: Run) -> Response:
    text = get_note(request.actor, run)
    return Response({"text": text, "revision": annotations.compute_note_revision(text)})


def render_tags(request: Request, run: Run) -> Response:
    return Response(RunTagSerializer(list_tags(request.actor, run), many=True).data)
