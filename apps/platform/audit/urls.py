from django.urls import path

from apps.platform.audit import views

app_name = "audit"
urlpatterns = [
    path("audit", views.trail, name="list"),
    path("audit/chain", views.chain, name="chain"),
    path("audit/chain/progress", views.progress, name="progress"),
    path("audit/verify", views.verify, name="verify"),
    path("audit/export", views.export, name="export"),
    path("audit/verify.py", views.verifier_file, name="verifier"),
    path("audit/audit_ed25519.pub.pem", views.anchor, {"name": "key"}, name="key"),
    path("audit/checkpoints.jsonl", views.anchor, {"name": "checkpoints"}, name="checkpoints"),
    path("audit/object/<str:object_type>/<path:object_id>", views.object_trail, name="object"),
]
