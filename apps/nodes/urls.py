from django.urls import path

from apps.nodes import views

app_name = "nodes"
urlpatterns = [
    path("nodes", views.node_list, name="list"),
    path("nodes/<path:name>/hold", views.hold, name="hold"),
    path("nodes/<path:name>/release", views.release, name="release"),
]
