"""The card of a version as a file: Markdown, or HTML that needs nothing beside itself."""

from __future__ import annotations

from django.http import HttpResponse
from django.urls import reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.views import APIView

from apps.ml.registry.api import get_request_version
from apps.ml.registry.model_card.blocks import render_html, render_markdown
from apps.ml.registry.model_card.sections import build_model_card
from apps.ml.registry.model_card.style import STYLE
from apps.ml.registry.models import ModelVersion

TYPES = {"md": "text/markdown; charset=utf-8", "html": "text/html; charset=utf-8"}


class CardMarkdownView(APIView):
    @extend_schema(
        operation_id="model_versions_card_markdown",
        responses={(200, "text/markdown"): OpenApiResponse(OpenApiTypes.STR, "The card, to keep.")},
    )
    def get(self, request: Request, project: str, name: str, version: str) -> HttpResponse:
        """The model card of a version as Markdown, made from the record; sections as in Mitchell et al. (2019)."""
        return render_card_file(get_request_version(request, project, name, version), request, "md")


class CardHtmlView(APIView):
    @extend_schema(
        operation_id="model_versions_card_html",
        responses={(200, "text/html"): OpenApiResponse(OpenApiTypes.STR, "One file that works offline, no script.")},
    )
    def get(self, request: Request, project: str, name: str, version: str) -> HttpResponse:
        """The same card as one HTML file that needs nothing beside itself."""
        return render_card_file(get_request_version(request, project, name, version), request, "html")


def render_card_file(version: ModelVersion, request: Request, ending: str) -> HttpResponse:
    """A file to keep, never a page of this site: its own style would be refused here, and its texts are of others."""
    files = request.build_absolute_uri(reverse("api-artifacts", args=[version.model.project.slug]))
    card = build_model_card(request.actor, version, files)
    text = render_markdown(card) if ending == "md" else render_html(card, STYLE)
    disposition = f'attachment; filename="{sanitize_file_name(version.model.name)}-v{version.number}-card.{ending}"'
    return HttpResponse(text, content_type=TYPES[ending], headers={"Content-Disposition": disposition})


def sanitize_file_name(name: str) -> str:
    """A model's name as part of a file's: what is no letter, digit or hyphen becomes a hyphen."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name)[:60]
