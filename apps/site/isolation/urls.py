from django.urls import path

from apps.site.isolation import views

app_name = "isolation_nodes"
urlpatterns = [
    path("isolation/nodes", views.show_isolation, name="overview"),
    path("isolation/reports", views.show_reports, name="reports"),
    path("isolation/reports/<path:name>", views.show_reports, name="node_reports"),
]
