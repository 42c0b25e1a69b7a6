"""Addresses of rollouts' pages, for notices and approvals."""

from __future__ import annotations

from django.urls import reverse

from apps.fleet.rollouts.models import Rollout


def build_rollout_path(rollout: Rollout) -> str:
    return reverse("rollouts:detail", args=[rollout.project.slug, rollout.pk])
