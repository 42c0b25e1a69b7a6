from django.urls import path

from apps.audit import views

app_name = "audit"
urlpatterns = [
    path("audit", views.trail, name="list"),
    path("audit/verify", views.verify, name="verify"),
    path("audit/export", views.export, name="export"),
    path("audit/verify.py", views.verifier_file, name="verifier"),
    path("audit/object/<str:object_type>/<path:object_id>", views.object_trail, name="object"),
]
