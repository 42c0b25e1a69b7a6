"""Pages below /p/<slug:project>/, and the ledger of the plane."""

from django.urls import path

from apps.ml.federation import lists, site_views, views

app_name = "federation"
urlpatterns = [
    path("studies", lists.show_studies, name="list"),
    path("studies/new", views.create, name="new"),
    path("studies/import", site_views.import_study, name="import"),
    path("studies/<int:pk>", views.show_study, name="study"),
    path("studies/<int:pk>/invite", views.invite, name="invite"),
    path("studies/<int:pk>/start", views.start, name="start"),
    path("studies/<int:pk>/stop", views.stop, name="stop"),
    path("studies/<int:pk>/register", views.register, name="register"),
    path("studies/<int:pk>/sites/<slug:name>/invitation", views.download_invitation, name="invitation"),
    path("studies/<int:pk>/sites/<slug:name>/certificate", views.download_certificate, name="certificate"),
    path("studies/<int:pk>/sites/<slug:name>/enrol", views.enrol, name="enrol"),
    path("studies/<int:pk>/sites/<slug:name>/remove", views.remove, name="remove"),
    path("studies/joined/<int:pk>", site_views.show_site_study, name="site_study"),
    path("studies/joined/<int:pk>/data", site_views.bind_data, name="data"),
    path("studies/joined/<int:pk>/approval", site_views.request_approval, name="approval"),
    path("studies/joined/<int:pk>/request", site_views.download_request, name="request"),
    path("studies/joined/<int:pk>/certify", site_views.certify, name="certify"),
    path("studies/joined/<int:pk>/join", site_views.join, name="join"),
    path("studies/joined/<int:pk>/leave", site_views.leave, name="leave"),
    path("studies/ledger", lists.show_ledger, name="ledger"),
    path("studies/ledger/<int:pk>.jsonl", lists.download_ledger, name="ledger_file"),
    path("studies/ledger/verifier.py", lists.download_verifier, name="verifier"),
]
plane_urlpatterns = ([path("audit/egress-ledger", lists.show_plane_ledger, name="ledger")], "plane_federation")
