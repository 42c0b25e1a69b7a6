from django.apps import AppConfig


class RecertificationConfig(AppConfig):
    name = "apps.platform.recertification"
