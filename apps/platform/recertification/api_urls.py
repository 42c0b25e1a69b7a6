from django.urls import path

from apps.platform.recertification import api

urlpatterns = [
    path("recertifications", api.CampaignList.as_view(), name="api-recertifications"),
    path("recertifications/<int:pk>", api.CampaignDetail.as_view(), name="api-recertification"),
    path("recertifications/<int:pk>/grants", api.CampaignGrants.as_view(), name="api-recertification-grants"),
    path("recertifications/<int:pk>/decide", api.CampaignDecide.as_view(), name="api-recertification-decide"),
    path("recertifications/<int:pk>/close", api.CampaignClose.as_view(), name="api-recertification-close"),
]
