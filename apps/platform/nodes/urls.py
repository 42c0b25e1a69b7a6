from django.urls import path

from apps.platform.nodes import views

app_name = "nodes"
urlpatterns = [
    path("nodes", views.node_list, name="list"),
    # A name may hold a slash: the last word is a tab only where no node is called so (views.asked_node).
    path("nodes/<path:name>/hold", views.hold, name="hold"),
    path("nodes/<path:name>/release", views.release, name="release"),
    path("nodes/<path:name>/samples.csv", views.samples_csv, name="samples"),
    path("nodes/<path:name>/jobs", views.node_page, {"tab": "jobs"}, name="jobs"),
    path("nodes/<path:name>/hardware", views.node_page, {"tab": "hardware"}, name="hardware"),
    path("nodes/<path:name>/audit", views.node_page, {"tab": "audit"}, name="audit"),
    path("nodes/<path:name>", views.node_page, {"tab": ""}, name="detail"),
]
