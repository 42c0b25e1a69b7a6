from django.apps import AppConfig


class HawkbitConfig(AppConfig):
    name = "apps.gateways.hawkbit"
