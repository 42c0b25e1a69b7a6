"""Access history for programs in a browser's session: no token reads it."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from apps.platform.access_history import queries
from apps.platform.access_history.serializers import HolderAnswerSerializer
from apps.platform.accounts.models import User

PARAMETERS = {
    "on": "YYYY-MM-DD, today, or 7d for six days ago; days begin in the time zone of the plane. Today without it.",
    "time": "HH:MM of that day; the whole day without it.",
    "kind": "person (without it) or service_account.",
    "project": "Accounts with a grant in it, or, with `action`, that could do it there.",
    "action": "An action of the policy, for instance approval.decide: accounts that could do it.",
    "q": "Part of the name.",
}


class AccessHistoryList(GenericAPIView[Any]):
    serializer_class = HolderAnswerSerializer
    queryset = User.objects.none()  # for the schema alone
    page_order: tuple[str, ...] = ("username", "id")

    @extend_schema(
        operation_id="access_history_list",
        parameters=[OpenApiParameter(name, str, description=text) for name, text in PARAMETERS.items()],
        responses=HolderAnswerSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        """Who had which grant on a day, or could do an action."""
        question = queries.parse_question(request.actor, request.query_params)
        self.page_order = (queries.NAMES[question.kind], "id")
        rows = self.paginate_queryset(queries.search_accounts(request.actor, question)) or []
        answers = queries.build_answers(list(rows), question)
        return self.get_paginated_response(HolderAnswerSerializer(answers, many=True).data)
