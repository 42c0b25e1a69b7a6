"""Security alarms for programs: reading with a token, acknowledging and setting in a session (no token may)."""

from __future__ import annotations

from typing import Any

from django.utils import translation
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.core.errors import NotFound
from apps.core.lists.listing import read_filter_values
from apps.platform.accounts.api import parse_body
from apps.site.security_alarms import queries, services
from apps.site.security_alarms.models import SecurityAlarm
from apps.site.security_alarms.rules import RULES
from apps.site.security_alarms.services import MAX_MINUTES, MAX_THRESHOLD
from apps.site.security_alarms.states import AlarmState

FILTERS = [
    OpenApiParameter("state", str, enum=[*AlarmState.values, queries.ALL], description="Without it: open."),
    OpenApiParameter("rule", str, enum=list(RULES)),
    OpenApiParameter("q", str, description="A part of whom or what it is about."),
]


class SecurityAlarmSerializer(serializers.ModelSerializer[SecurityAlarm]):
    class Meta:
        model = SecurityAlarm
        fields = [
            "id",
            "rule",
            "key",
            "state",
            "count",
            "first_seq",
            "last_seq",
            "first_at",
            "last_at",
            "acknowledged_by",
            "acknowledged_at",
            "reason",
        ]
        read_only_fields = fields


class AcknowledgementBody(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=400)


class AlarmRuleBody(serializers.Serializer[Any]):
    threshold = serializers.IntegerField(min_value=1, max_value=MAX_THRESHOLD)
    minutes = serializers.IntegerField(min_value=1, max_value=MAX_MINUTES)
    is_enabled = serializers.BooleanField()


class AlarmRuleSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    description = serializers.CharField()
    threshold = serializers.IntegerField(help_text="So many events, or gigabytes, are an alarm...")
    minutes = serializers.IntegerField(help_text="...within so many minutes.")
    is_enabled = serializers.BooleanField()
    unit = serializers.CharField(help_text="What `threshold` counts: events or GB.")


class SecurityAlarmList(GenericAPIView[SecurityAlarm]):
    serializer_class = SecurityAlarmSerializer
    queryset = SecurityAlarm.objects.none()  # for the schema alone
    page_order = ("-id",)

    @extend_schema(
        operation_id="security_alarms_list", parameters=FILTERS, responses=SecurityAlarmSerializer(many=True)
    )
    def get(self, request: Request) -> Response:
        """Security alarms, newest first; the open ones unless `state` says otherwise."""
        values = read_filter_values(request.query_params, ("state", "rule", "q"))
        alarms = queries.list_alarms(request.actor, state=values["state"], rule=values["rule"], key=values["q"])
        return self.get_paginated_response(self.get_serializer(self.paginate_queryset(alarms), many=True).data)


class SecurityAlarmDetail(APIView):
    @extend_schema(operation_id="security_alarms_retrieve", responses=SecurityAlarmSerializer)
    def get(self, request: Request, pk: int) -> Response:
        return Response(SecurityAlarmSerializer(queries.get_alarm(request.actor, pk)).data)


class SecurityAlarmAcknowledgement(APIView):
    @extend_schema(
        operation_id="security_alarms_acknowledge", request=AcknowledgementBody, responses=SecurityAlarmSerializer
    )
    def post(self, request: Request, pk: int) -> Response:
        """Say that a person has looked at the alarm, and what was found."""
        policy.require(request.actor, "security_alarm.acknowledge")
        alarm = queries.get_alarm(request.actor, pk)
        services.acknowledge_alarm(actor=request.actor, pk=alarm.pk, **parse_body(AcknowledgementBody, request))
        return Response(SecurityAlarmSerializer(queries.get_alarm(request.actor, pk)).data)


class AlarmRuleList(APIView):
    @extend_schema(operation_id="security_alarm_rules_list", responses=AlarmRuleSerializer(many=True))
    def get(self, request: Request) -> Response:
        """Every rule with its threshold."""
        rules = queries.list_rules(request.actor)
        with translation.override("en"):
            return Response(AlarmRuleSerializer(rules, many=True).data)


class AlarmRuleDetail(APIView):
    @extend_schema(operation_id="security_alarm_rules_update", request=AlarmRuleBody, responses=AlarmRuleSerializer)
    def put(self, request: Request, rule: str) -> Response:
        """Set from how many events within how many minutes on a rule raises an alarm."""
        policy.require(request.actor, "security_alarm.set_rule")
        if rule not in RULES:
            raise NotFound("There is no rule {name!r}.", name=rule[:40], field="rule")
        services.set_rule(actor=request.actor, rule=rule, **parse_body(AlarmRuleBody, request))
        status = next(row for row in queries.list_rules(request.actor) if row.name == rule)
        with translation.override("en"):
            return Response(AlarmRuleSerializer(status).data)
