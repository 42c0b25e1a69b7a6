"""Addresses: `/p/<project>/...` for people, `/api/v1/...` for programs. Every include stands here, none is found.

An app adds `api_urls.py` (REST; what belongs to a project under PROJECT_API, the rest under PLANE_API) and
`urls.py` (pages; the same two lists), and one line below for each.
"""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponseBase
from django.urls import URLPattern, URLResolver, include, path, re_path
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import RedirectView
from django.views.i18n import set_language

from apps.data.datasets.urls import urlpatterns as dataset_pages
from apps.data.personal_data.api_urls import plane_urlpatterns as plane_personal_data
from apps.data.personal_data.urls import plane_urlpatterns as plane_personal_data_pages
from apps.data.repositories.smart_http import refuse_git_address
from apps.fleet.releases.api_urls import plane_urlpatterns as release_keys
from apps.gateways.openlineage.api_urls import plane_urlpatterns as openlineage
from apps.ml.federation.api_urls import plane_urlpatterns as plane_ledger
from apps.ml.federation.urls import plane_urlpatterns as plane_ledger_pages
from apps.ml.labelling.api_urls import plane_urlpatterns as labelling_hooks
from apps.ml.pipelines.api_urls import plane_urlpatterns as pipeline_templates
from apps.ml.pipelines.urls import urlpatterns as pipeline_pages
from apps.ml.sweeps.urls import urlpatterns as sweep_pages
from apps.platform.accounts.directory.views import LogInView, receive, start
from apps.platform.accounts.factors.views import AddKeyView, FactorsView, RemoveKeyView, SetUpAppView
from apps.platform.accounts.views import ChangePasswordView
from apps.platform.artifacts.api_urls import plane_urlpatterns as artifacts
from apps.platform.calendars.api_urls import plane_urlpatterns as plane_schedules
from apps.platform.calendars.urls import plane_urlpatterns as plane_schedule_pages
from apps.platform.jobs.api_urls import plane_urlpatterns as job_kinds
from apps.platform.notices.api_urls import plane_urlpatterns as notices_api
from apps.platform.notices.urls import plane_urlpatterns as inbox_pages
from apps.web.help.views import show_index, show_topic
from apps.web.new_job.urls import datasets_urlpatterns, pipelines_urlpatterns, sweeps_urlpatterns
from apps.web.search.api import SearchView
from apps.web.search.views import palette, search
from apps.web.views import gallery, hide_first_steps, home, isolation, project_home
from controlplane.health import healthz, readyz
from controlplane.metrics import metrics
from controlplane.schema import DocsView, SchemaView


@csrf_exempt
@login_not_required
def refuse_unknown_api(request: HttpRequest, rest: str = "") -> HttpResponseBase:
    """An unknown address below /api/ is a JSON 404, with or without a log-in, in debug mode too."""
    raise Http404


@login_not_required
def refuse_mail(request: HttpRequest) -> HttpResponseBase:
    """404 for allauth's mail pages: nothing leaves the plane, and an administrator resets passwords."""
    raise Http404


PROJECT_API: list[URLPattern | URLResolver] = [
    path("", include("apps.platform.artifacts.api_urls")),
    path("", include("apps.platform.comments.api_urls")),
    path("", include("apps.platform.holds.api_urls")),
    path("", include("apps.platform.jobs.api_urls")),
    path("", include("apps.platform.lineage.api_urls")),
    path("", include("apps.data.datasets.api_urls")),
    path("", include("apps.data.personal_data.api_urls")),
    path("", include("apps.ml.pipelines.api_urls")),
    path("", include("apps.ml.experiments.api_urls")),
    path("", include("apps.ml.reruns.api_urls")),
    path("", include("apps.ml.sweeps.api_urls")),
    path("", include("apps.ml.registry.api_urls")),
    path("", include("apps.ml.observations.api_urls")),
    path("", include("apps.ml.endpoints.api_urls")),
    path("", include("apps.fleet.releases.api_urls")),
    path("", include("apps.fleet.devices.api_urls")),
    path("", include("apps.fleet.recalls.api_urls")),
    path("", include("apps.fleet.rollouts.api_urls")),
    path("", include("apps.fleet.monitoring.api_urls")),
    path("", include("apps.ml.labelling.api_urls")),
    path("", include("apps.ml.federation.api_urls")),
    path("", include("apps.platform.approvals.api_urls")),
    path("", include("apps.platform.notices.api_urls")),
    path("", include("apps.platform.calendars.api_urls")),
    path("", include("apps.gateways.openlineage.api_urls")),
    path("", include("apps.site.transfer.api_urls")),
    path("", include("apps.gateways.hawkbit.api_urls")),
]
PLANE_API: list[URLPattern | URLResolver] = [
    path("", include("apps.platform.accounts.api_urls")),
    path("", include("apps.platform.preferences.api_urls")),
    path("", include(notices_api)),
    path("", include("apps.platform.nodes.api_urls")),
    path("", include(plane_schedules)),
    path("", include("apps.platform.emergency.api_urls")),
    path("", include("apps.platform.recertification.api_urls")),
    path("", include("apps.platform.access_history.api_urls")),
    path("", include("apps.data.datasets.labels.api_urls")),
    path("", include(plane_personal_data)),
    path("", include("apps.site.isolation.api_urls")),
    path("", include("apps.site.snapshots.api_urls")),
    path("", include("apps.site.compliance.api_urls")),
    path("", include("apps.site.security_alarms.api_urls")),
    path("", include("apps.platform.audit.api_urls")),
    path("", include("apps.site.mirror.api_urls")),
    path("", include(artifacts)),
    path("", include(job_kinds)),
    path("", include(openlineage)),
    path("", include(labelling_hooks)),
    path("", include(plane_ledger)),
    path("", include(pipeline_templates)),
    path("", include(release_keys)),
    path("schema", SchemaView.as_view(), name="api-schema"),
    path("docs", DocsView.as_view(), name="api-docs"),
    path("search", SearchView.as_view(), name="api-search"),
]
PROJECT_PAGES: list[URLPattern | URLResolver] = [
    path("", project_home, name="project_home"),
    path("", include("apps.platform.comments.urls")),
    path("", include("apps.platform.holds.urls")),
    path("", include("apps.platform.jobs.urls")),
    path("", include("apps.platform.lineage.urls")),
    path("", include(([*dataset_pages, *datasets_urlpatterns], "datasets"))),
    path("", include("apps.data.personal_data.urls")),
    path("", include(([*pipeline_pages, *pipelines_urlpatterns], "pipelines"))),
    path("", include("apps.ml.experiments.urls")),
    path("", include("apps.ml.reruns.urls")),
    path("", include(([*sweep_pages, *sweeps_urlpatterns], "sweeps"))),
    path("", include("apps.ml.registry.urls")),
    path("", include("apps.ml.observations.urls")),
    path("", include("apps.ml.endpoints.urls")),
    path("", include("apps.fleet.releases.urls")),
    path("", include("apps.fleet.devices.urls")),
    path("", include("apps.fleet.recalls.urls")),
    path("", include("apps.fleet.rollouts.urls")),
    path("", include("apps.fleet.monitoring.urls")),
    path("", include("apps.site.transfer.urls")),
    path("", include("apps.ml.labelling.urls")),
    path("", include("apps.ml.federation.urls")),
    path("", include("apps.platform.approvals.urls")),
    path("", include("apps.platform.notices.urls")),
    path("", include("apps.platform.calendars.urls")),
]
PLANE_PAGES: list[URLPattern | URLResolver] = [
    path("", home, name="home"),
    path("first-steps/hide", hide_first_steps, name="hide_first_steps"),
    path("components", gallery, name="components"),
    path("search", search, name="search"),
    path("palette", palette, name="palette"),
    path("help", show_index, name="help"),
    path("help/<slug:topic>", show_topic, name="help_topic"),
    path("isolation", isolation, name="isolation"),
    path("", include("apps.platform.emergency.urls")),
    path("", include("apps.platform.recertification.urls")),
    path("", include("apps.platform.access_history.urls")),
    path("", include("apps.data.datasets.labels.urls")),
    path("", include(plane_personal_data_pages)),
    path("", include("apps.site.isolation.urls")),
    path("", include("apps.site.snapshots.urls")),
    path("", include("apps.site.security_alarms.urls")),
    path("", include("apps.site.compliance.urls")),
    path("", include("apps.platform.accounts.urls")),
    path("", include("apps.platform.preferences.urls")),
    path("", include(inbox_pages)),
    path("", include("apps.platform.audit.urls")),
    path("", include(plane_ledger_pages)),
    path("", include("apps.platform.nodes.urls")),
    path("", include(plane_schedule_pages)),
    path("", include("apps.platform.artifacts.urls")),
    path("", include("apps.site.mirror.urls")),
]

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
    path("api/v1/projects/<slug:project>/", include(PROJECT_API)),
    path("api/v1/agent/", include("apps.fleet.devices.agent_urls")),
    path("api/v1/doctor/", include("apps.platform.nodes.health.api_urls")),
    path("api/v1/doctor/", include("apps.site.isolation.node_urls")),
    path("api/v1/", include(PLANE_API)),
    path("", include("apps.gateways.mlflow.urls")),
    path("api/<path:rest>", refuse_unknown_api),
    path("", include("apps.site.mirror.index_urls")),
    path("git", refuse_git_address),
    path("git/", include("apps.data.repositories.urls")),
    re_path(r"^accounts/(?:email|confirm-email|password/reset|login/code)/", refuse_mail),
    path("accounts/password/change/", ChangePasswordView.as_view(), name="account_change_password"),
    path("accounts/login/", LogInView.as_view(), name="account_login"),
    path("accounts/oidc/login/", start, name="oidc_login"),
    path("accounts/oidc/callback/", receive, name="oidc_callback"),
    path("accounts/2fa/", FactorsView.as_view(), name="mfa_index"),
    path("accounts/2fa/totp/activate/", SetUpAppView.as_view(), name="mfa_activate_totp"),
    path("accounts/2fa/webauthn/add/", AddKeyView.as_view(), name="mfa_add_webauthn"),
    path("accounts/2fa/webauthn/keys/<int:pk>/remove/", RemoveKeyView.as_view(), name="mfa_remove_webauthn"),
    path("accounts/", RedirectView.as_view(pattern_name="accounts:account")),
    path("accounts/", include("allauth.urls")),
    path("i18n/setlang/", login_not_required(set_language), name="set_language"),
    path("p/<slug:project>/", include(PROJECT_PAGES)),
    path("", include(PLANE_PAGES)),
    path("", include("apps.gateways.hawkbit.urls")),  # last: the name of a project comes first in its addresses
]

handler400 = "controlplane.errors.bad_request"
handler403 = "controlplane.errors.permission_denied"
handler404 = "controlplane.errors.page_not_found"
handler500 = "controlplane.errors.server_error"
