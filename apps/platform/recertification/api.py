"""Recertification for programs in a browser's session: no token decides about grants."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.core.errors import Invalid
from apps.core.lists.listing import read_filter_values
from apps.platform.accounts.api import parse_body
from apps.platform.recertification import queries, services
from apps.platform.recertification.lists import FILTERS, filter_reviews
from apps.platform.recertification.models import Campaign, GrantReview
from apps.platform.recertification.serializers import (
    CampaignSerializer,
    CloseBody,
    DecidedSerializer,
    DecisionBody,
    GrantReviewSerializer,
    NewCampaignSerializer,
)
from deepseek.messages import N_


class CampaignList(ListAPIView[Campaign]):
    serializer_class = CampaignSerializer
    queryset = Campaign.objects.none()  # for the schema alone
    page_order = ("-id",)

    def get_queryset(self) -> Any:
        return queries.list_campaigns(self.request.actor)

    @extend_schema(operation_id="recertifications_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Campaigns, the newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="recertifications_start", request=NewCampaignSerializer, responses={201: CampaignSerializer}
    )
    def post(self, request: Request) -> Response:
        """Start a review of every grant there is now."""
        policy.require(request.actor, "recertification.start")
        campaign = services.start_campaign(actor=request.actor, **parse_body(NewCampaignSerializer, request))
        return Response(CampaignSerializer(campaign).data, status=status.HTTP_201_CREATED)


class CampaignDetail(APIView):
    @extend_schema(operation_id="recertifications_retrieve", responses=CampaignSerializer)
    def get(self, request: Request, pk: int) -> Response:
        return Response(CampaignSerializer(queries.get_campaign(request.actor, pk)).data)


class CampaignGrants(ListAPIView[GrantReview]):
    serializer_class = GrantReviewSerializer
    queryset = GrantReview.objects.none()  # for the schema alone
    page_order = ("id",)

    def get_queryset(self) -> Any:
        campaign = queries.get_campaign(self.request.actor, self.kwargs["pk"])
        values = read_filter_values(self.request.query_params, FILTERS)
        return filter_reviews(queries.list_reviews(self.request.actor, campaign), values)

    @extend_schema(
        operation_id="recertification_grants_list", parameters=[OpenApiParameter(name, str) for name in FILTERS]
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The grants of a campaign that you may see, with what was decided."""
        return super().get(request, *args, **kwargs)


class CampaignDecide(APIView):
    @extend_schema(operation_id="recertifications_decide", request=DecisionBody, responses=DecidedSerializer)
    def post(self, request: Request, pk: int) -> Response:
        """Confirm or revoke grants, those named or all that are open and yours to decide."""
        campaign = queries.get_campaign(request.actor, pk)
        policy.require(request.actor, "recertification.decide")
        body = parse_body(DecisionBody, request)
        ids, everything = body.pop("ids"), body.pop("all")
        if (ids is None) != everything:
            raise Invalid(
                "Name the grants, or say that you decide about all.",
                code="grants_missing",
                field="/ids",
                limit="ids, or all: true",
                hint=N_("With all every grant is decided that is open and yours."),
            )
        rows = None if ids is None else queries.list_reviews(request.actor, campaign).filter(pk__in=ids)
        decided = services.decide_grants(actor=request.actor, campaign=campaign, rows=rows, **body)
        return Response({"decided": decided})


class CampaignClose(APIView):
    @extend_schema(operation_id="recertifications_close", request=CloseBody, responses=CampaignSerializer)
    def post(self, request: Request, pk: int) -> Response:
        """Close a campaign; what is open stays open in it."""
        campaign = queries.get_campaign(request.actor, pk)
        policy.require(request.actor, "recertification.close")
        campaign = services.close_campaign(actor=request.actor, campaign=campaign, **parse_body(CloseBody, request))
        return Response(CampaignSerializer(campaign).data)
