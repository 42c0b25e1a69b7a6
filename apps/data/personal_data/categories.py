"""What kinds of personal data are told apart, and the grounds on which they may be used, as data."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class Category(models.TextChoices):
    """`SENSITIVE`: those that GB/T 35273-2020, annex B, calls sensitive."""

    NAME = "name", _("Name of a person")
    ID_CARD = "id_card", _("Identity number")
    PHONE = "phone", _("Telephone number")
    EMAIL = "email", _("E-mail address")
    ADDRESS = "address", _("Postal address")
    BANK_CARD = "bank_card", _("Bank card number")
    ACCOUNT = "account", _("Account or device identifier")
    LOCATION = "location", _("Whereabouts of a person")
    HEALTH = "health", _("Health")
    BIOMETRIC = "biometric", _("Biometric data")
    OTHER = "other", _("Other personal data")


class LegalBasis(models.TextChoices):
    """The grounds of article 13 of the Personal Information Protection Law (个人信息保护法)."""

    CONSENT = "consent", _("Consent of the person")
    CONTRACT = "contract", _("Contract or management of staff")
    LEGAL_DUTY = "legal_duty", _("Duty or power by law")
    EMERGENCY = "emergency", _("Emergency of health, life or property")
    PUBLIC_INTEREST = "public_interest", _("News reporting in the public interest")
    PUBLISHED = "published", _("Published by the person or lawfully")
    OTHER_LAW = "other_law", _("Another law or regulation")


SENSITIVE = frozenset({Category.ID_CARD, Category.BANK_CARD, Category.LOCATION, Category.HEALTH, Category.BIOMETRIC})
