"""The OpenAPI schema, its page, and its description of authentication."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from csp.decorators import csp_update
from django.utils.decorators import method_decorator
from django.utils.translation import get_language
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularSwaggerSplitView
from rest_framework.request import Request
from rest_framework.response import Response


class BearerToken(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "apps.platform.accounts.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {"type": "http", "scheme": "bearer", "description": "A token of one project."}


class DeviceToken(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "apps.fleet.devices.authentication.DeviceAuthentication"
    name = "device"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {"type": "http", "scheme": "bearer", "description": "The token that a device got when it enrolled."}


class NodeToken(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "apps.platform.nodes.health.authentication.NodeAuthentication"
    name = "node"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {"type": "http", "scheme": "bearer", "description": "The token of a node, for its reports."}


class SessionCookie(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "apps.platform.accounts.authentication.BrowserSession"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid"}


class SchemaView(SpectacularJSONAPIView):
    """OpenAPI 3.1 as JSON, for whoever is logged in or sends a token."""

    def _get_schema_response(self, request: Request) -> Response:
        version = request.version or self._get_version_parameter(request)
        name = self._get_filename(request, version)
        disposition = {"Content-Disposition": f'inline; filename="{name}"'}
        return Response(build_document(get_language(), version), headers=disposition)


@lru_cache(maxsize=4)
def build_document(language: str | None, version: str | None) -> dict[str, Any]:
    """The same for everybody while the process lives, and it takes a second."""
    generator = SchemaView.generator_class(urlconf=SchemaView.urlconf, api_version=version)
    document: dict[str, Any] = generator.get_schema(request=None, public=True)
    return document


# Its style sheet holds its icons as data: addresses; everything else comes from this origin.
@method_decorator(csp_update({"img-src": ["'self'", "data:"]}), name="dispatch")
class DocsView(SpectacularSwaggerSplitView):
    template_name = "api_docs.html"
    url_name = "api-schema"
