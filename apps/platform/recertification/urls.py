from django.urls import path

from apps.platform.recertification import views

app_name = "recertification"
urlpatterns = [
    path("recertification", views.show_campaigns, name="list"),
    path("recertification/<int:pk>", views.show_campaign, name="campaign"),
    path("recertification/<int:pk>/decide", views.decide, name="decide"),
    path("recertification/<int:pk>/close", views.close, name="close"),
]
