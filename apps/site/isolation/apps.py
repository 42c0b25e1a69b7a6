from django.apps import AppConfig


class IsolationConfig(AppConfig):
    name = "apps.site.isolation"
