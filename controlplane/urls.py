"""Addresses: `/p/<project>/...` for people, `/api/v1/...` for programs. Every include stands here, none is found.

An app adds `api_urls.py` (REST; what belongs to a project under PROJECT_API, the rest under PLANE_API) and
`urls.py` (pages; the same two lists), and one line below for each.
"""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponseBase
from django.urls import URLPattern, URLResolver, include, path, re_path
from django.views.decorators.csrf import csrf_exempt
from django.views.i18n import set_language

from apps.accounts.views import ChangePasswordView
from apps.artifacts.api_urls import plane_urlpatterns as artifacts
from apps.jobs.api_urls import plane_urlpatterns as job_kinds
from apps.openlineage.api_urls import plane_urlpatterns as openlineage
from apps.pipelines.api_urls import plane_urlpatterns as pipeline_templates
from apps.repositories.smart import nothing as nothing_of_git
from controlplane.health import healthz, readyz
from controlplane.metrics import metrics
from controlplane.schema import DocsView, SchemaView
from controlplane.search.api import SearchView
from controlplane.search.views import search
from controlplane.views import gallery, home, isolation, project_home


@csrf_exempt
@login_not_required
def no_such_api(request: HttpRequest, rest: str = "") -> HttpResponseBase:
    """An unknown address below /api/ is a JSON 404, with or without a log-in, in debug mode too."""
    raise Http404


@login_not_required
def no_mail(request: HttpRequest) -> HttpResponseBase:
    """What allauth does by mail is not there: nothing leaves the plane, and an administrator resets passwords."""
    raise Http404


PROJECT_API: list[URLPattern | URLResolver] = [
    path("", include("apps.artifacts.api_urls")),
    path("", include("apps.holds.api_urls")),
    path("", include("apps.jobs.api_urls")),
    path("", include("apps.lineage.api_urls")),
    path("", include("apps.datasets.api_urls")),
    path("", include("apps.pipelines.api_urls")),
    path("", include("apps.experiments.api_urls")),
    path("", include("apps.reruns.api_urls")),
    path("", include("apps.registry.api_urls")),
    path("", include("apps.approvals.api_urls")),
    path("", include("apps.openlineage.api_urls")),
]
PLANE_API: list[URLPattern | URLResolver] = [
    path("", include("apps.accounts.api_urls")),
    path("", include("apps.preferences.api_urls")),
    path("", include("apps.nodes.api_urls")),
    path("", include("apps.audit.api_urls")),
    path("", include(artifacts)),
    path("", include(job_kinds)),
    path("", include(openlineage)),
    path("", include(pipeline_templates)),
    path("schema", SchemaView.as_view(), name="api-schema"),
    path("docs", DocsView.as_view(), name="api-docs"),
    path("search", SearchView.as_view(), name="api-search"),
]
PROJECT_PAGES: list[URLPattern | URLResolver] = [
    path("", project_home, name="project_home"),
    path("", include("apps.holds.urls")),
    path("", include("apps.jobs.urls")),
    path("", include("apps.lineage.urls")),
    path("", include("apps.datasets.urls")),
    path("", include("apps.pipelines.urls")),
    path("", include("apps.experiments.urls")),
    path("", include("apps.reruns.urls")),
    path("", include("apps.registry.urls")),
    path("", include("apps.approvals.urls")),
]
PLANE_PAGES: list[URLPattern | URLResolver] = [
    path("", home, name="home"),
    path("components", gallery, name="components"),
    path("search", search, name="search"),
    path("isolation", isolation, name="isolation"),
    path("", include("apps.accounts.urls")),
    path("", include("apps.preferences.urls")),
    path("", include("apps.audit.urls")),
    path("", include("apps.nodes.urls")),
    path("", include("apps.artifacts.urls")),
]

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
    path("api/v1/projects/<slug:project>/", include(PROJECT_API)),
    path("api/v1/", include(PLANE_API)),
    path("", include("apps.mlflow.urls")),
    path("api/<path:rest>", no_such_api),
    path("git", nothing_of_git),
    path("git/", include("apps.repositories.urls")),
    re_path(r"^accounts/(?:email|confirm-email|password/reset|login/code)/", no_mail),
    path("accounts/password/change/", ChangePasswordView.as_view(), name="account_change_password"),
    path("accounts/", include("allauth.urls")),
    path("i18n/setlang/", login_not_required(set_language), name="set_language"),
    path("p/<slug:project>/", include(PROJECT_PAGES)),
    path("", include(PLANE_PAGES)),
]

handler400 = "controlplane.errors.bad_request"
handler403 = "controlplane.errors.permission_denied"
handler404 = "controlplane.errors.page_not_found"
handler500 = "controlplane.errors.server_error"
