"""Below /api/v1/projects/<slug:project>/, and the ledger of the plane below /api/v1/."""

from django.urls import path

from apps.ml.federation import api, site_api

urlpatterns = [
    path("studies", api.StudyList.as_view(), name="api-studies"),
    path("studies/<int:pk>", api.StudyDetail.as_view(), name="api-study"),
    path("studies/<int:pk>/code", api.StudyCode.as_view(), name="api-study-code"),
    path("studies/<int:pk>/start", api.StudyStart.as_view(), name="api-study-start"),
    path("studies/<int:pk>/stop", api.StudyStop.as_view(), name="api-study-stop"),
    path("studies/<int:pk>/register", api.StudyRegister.as_view(), name="api-study-register"),
    path("studies/<int:pk>/rounds", api.StudyRounds.as_view(), name="api-study-rounds"),
    path("studies/<int:pk>/sites", api.StudySites.as_view(), name="api-study-sites"),
    path("studies/<int:pk>/sites/<slug:name>", api.StudySiteDetail.as_view(), name="api-study-site"),
    path("studies/<int:pk>/sites/<slug:name>/invitation", api.StudyInvitation.as_view(), name="api-study-invitation"),
    path("studies/<int:pk>/sites/<slug:name>/enrol", api.StudyEnrol.as_view(), name="api-study-enrol"),
    path(
        "studies/<int:pk>/sites/<slug:name>/certificate", api.StudyCertificate.as_view(), name="api-study-certificate"
    ),
    path("site-studies", site_api.SiteStudyList.as_view(), name="api-site-studies"),
    path("site-studies/<int:pk>", site_api.SiteStudyDetail.as_view(), name="api-site-study"),
    path("site-studies/<int:pk>/code", site_api.SiteStudyCode.as_view(), name="api-site-study-code"),
    path("site-studies/<int:pk>/data", site_api.SiteStudyData.as_view(), name="api-site-study-data"),
    path("site-studies/<int:pk>/request", site_api.SiteStudyRequest.as_view(), name="api-site-study-request"),
    path("site-studies/<int:pk>/certificate", site_api.SiteStudyCertify.as_view(), name="api-site-study-certificate"),
    path("site-studies/<int:pk>/approval", site_api.SiteStudyApproval.as_view(), name="api-site-study-approval"),
    path("site-studies/<int:pk>/join", site_api.SiteStudyJoin.as_view(), name="api-site-study-join"),
    path("site-studies/<int:pk>/leave", site_api.SiteStudyLeave.as_view(), name="api-site-study-leave"),
    path("egress-ledger", site_api.LedgerList.as_view(), name="api-egress-ledger"),
    path("egress-ledger/<int:pk>/file", site_api.LedgerFile.as_view(), name="api-egress-ledger-file"),
]
plane_urlpatterns = [path("egress-ledger", site_api.PlaneLedgerList.as_view(), name="api-plane-egress-ledger")]
