"""Addresses of alarms' pages, for notices and approvals."""

from __future__ import annotations

from django.urls import reverse

from apps.fleet.monitoring.models import Alarm


def build_alarm_path(alarm: Alarm) -> str:
    return reverse("monitoring:alarm", args=[alarm.project.slug, alarm.pk])
