from django.apps import AppConfig


class AccessHistoryConfig(AppConfig):
    name = "apps.platform.access_history"
