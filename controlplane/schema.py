"""The OpenAPI schema, its page, and its description of authentication."""

from __future__ import annotations

from typing import Any

from csp.decorators import csp_update
from django.utils.decorators import method_decorator
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularSwaggerSplitView


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


# Its style sheet holds its icons as data: addresses; everything else comes from this origin.
@method_decorator(csp_update({"img-src": ["'self'", "data:"]}), name="dispatch")
class DocsView(SpectacularSwaggerSplitView):
    template_name = "api_docs.html"
    url_name = "api-schema"
