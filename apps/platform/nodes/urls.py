from django.urls import path

from apps.platform.nodes import views
from apps.platform.nodes.probes.views import probe_node, show_probe

app_name = "nodes"
urlpatterns = [
    path("nodes", views.show_nodes, name="list"),
    path("probes/<int:pk>", show_probe, name="probe"),
    # A name may hold a slash: the last word is a tab only where no node is called so (views.asked_node).
    path("nodes/<path:name>/hold", views.hold, name="hold"),
    path("nodes/<path:name>/release", views.release, name="release"),
    path("nodes/<path:name>/labels", views.set_labels, name="labels"),
    path("nodes/<path:name>/samples.csv", views.download_samples, name="samples"),
    path("nodes/<path:name>/jobs", views.show_node, {"tab": "jobs"}, name="jobs"),
    path("nodes/<path:name>/hardware", views.show_node, {"tab": "hardware"}, name="hardware"),
    path("nodes/<path:name>/health", views.show_node, {"tab": "health"}, name="health"),
    path("nodes/<path:name>/probe", probe_node, name="request_probe"),
    path("nodes/<path:name>/token", views.issue_token, name="token"),
    path("nodes/<path:name>/audit", views.show_node, {"tab": "audit"}, name="audit"),
    path("nodes/<path:name>", views.show_node, {"tab": ""}, name="detail"),
]
