"""REST API of comments: on runs, versions of datasets and models, and approvals."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.platform.accounts.api import parse_body
from apps.platform.accounts.projects import get_project
from apps.platform.comments import queries, services
from apps.platform.comments.models import Comment
from apps.platform.comments.serializers import CommentBody, CommentSerializer, NewCommentBody

OBJECT = [
    OpenApiParameter("object_type", str, required=True, description="run, datasetversion, modelversion or approval."),
    OpenApiParameter("object_id", str, required=True, description="Key of the object; of a run its id."),
]


@extend_schema(parameters=OBJECT)
class CommentsView(ListAPIView[Comment]):
    """The comments on one object, the newest first."""

    serializer_class = CommentSerializer
    queryset = Comment.objects.none()  # for the schema alone
    page_order = ("-id",)

    def get_queryset(self) -> Any:
        params = self.request.query_params
        where = get_project(self.request.actor, self.kwargs["project"])
        object_type, object_id = params.get("object_type", ""), params.get("object_id", "")
        return queries.list_comments(self.request.actor, where, object_type, object_id).order_by("-id")

    @extend_schema(parameters=[], request=NewCommentBody, responses={201: CommentSerializer})
    def post(self, request: Request, project: str) -> Response:
        """Add a comment; the people whom its text mentions and who may see the object are told."""
        where = get_project(request.actor, project)
        policy.require(request.actor, "comment.write", where)
        body = parse_body(NewCommentBody, request)
        comment = services.add_comment(actor=request.actor, project=where, **body)
        return Response(CommentSerializer(comment).data, status=status.HTTP_201_CREATED)


class CommentView(APIView):
    @extend_schema(responses=CommentSerializer)
    def get(self, request: Request, project: str, pk: int) -> Response:
        comment = queries.get_comment(request.actor, get_project(request.actor, project), pk)
        return Response(CommentSerializer(comment).data)

    @extend_schema(request=CommentBody, responses=CommentSerializer)
    def patch(self, request: Request, project: str, pk: int) -> Response:
        """Replace the text of one's own comment."""
        comment = queries.get_comment(request.actor, get_project(request.actor, project), pk)
        policy.require(request.actor, "comment.write", comment)
        text = parse_body(CommentBody, request)["text"]
        return Response(CommentSerializer(services.edit_comment(actor=request.actor, comment=comment, text=text)).data)

    @extend_schema(request=None, responses={204: None})
    def delete(self, request: Request, project: str, pk: int) -> Response:
        """Delete one's own comment; that there was one stays."""
        comment = queries.get_comment(request.actor, get_project(request.actor, project), pk)
        services.delete_comment(actor=request.actor, comment=comment)
        return Response(status=status.HTTP_204_NO_CONTENT)
