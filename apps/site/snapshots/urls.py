from django.urls import path

from apps.site.snapshots import views
from apps.site.snapshots.environments.views import show_difference

app_name = "snapshots"
urlpatterns = [
    path("snapshots", views.show_snapshots, name="list"),
    path("snapshots/new", views.create, name="create"),
    path("snapshots/<int:pk>", views.show_snapshot, name="detail"),
    path("snapshots/<int:pk>/verify", views.verify, name="verify"),
    path("snapshots/<int:pk>/drill", views.drill, name="drill"),
    path("snapshots/<int:pk>/remove", views.remove, name="remove"),
    path("environments", show_difference, name="environments"),
]
