from django.urls import path

from apps.platform.emergency import api

urlpatterns = [
    path("emergency-grants", api.GrantList.as_view(), name="api-emergency-grants"),
    path("emergency-grants/<int:pk>", api.GrantDetail.as_view(), name="api-emergency-grant"),
    path("emergency-grants/<int:pk>/confirm", api.GrantConfirm.as_view(), name="api-emergency-grant-confirm"),
    path("emergency-grants/<int:pk>/end", api.GrantEnd.as_view(), name="api-emergency-grant-end"),
]
