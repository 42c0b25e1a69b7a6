from django.urls import path

from apps.platform.preferences import api

urlpatterns = [
    path("views", api.SavedViewList.as_view(), name="api-saved-views"),
    path("views/<int:pk>", api.SavedViewDetail.as_view(), name="api-saved-view"),
]
