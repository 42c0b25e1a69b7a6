from django.urls import path

from apps.platform.audit import api

app_name = "audit_api"
urlpatterns = [
    path("audit/records", api.Records.as_view(), name="records"),
    path("audit/chain", api.Chain.as_view(), name="chain"),
    path("audit/verify", api.Verify.as_view(), name="verify"),
    path("audit/export", api.Export.as_view(), name="export"),
]
