"""The forms of the account and people pages. They read text; what is allowed the services decide."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.utils.translation import gettext_lazy as _

from apps.core.actors import ProjectRole, SystemRole
from apps.core.errors import PlaneError
from apps.core.html import format_html
from apps.core.messages import translate_error
from apps.platform.accounts.models import Project, User, list_time_zones
from apps.platform.accounts.security_labels import list_labels
from apps.platform.accounts.services import DEFAULT_DAYS
from apps.platform.accounts.validation import DAYS

PROJECT_ROLES = [
    (ProjectRole.VIEWER.value, _("Viewer: sees everything in the project")),
    (ProjectRole.ENGINEER.value, _("Engineer: adds data, runs jobs")),
    (ProjectRole.APPROVER.value, _("Approver: decides about promotions and rollouts")),
]
SYSTEM_ROLES = [
    ("", _("None")),
    (SystemRole.SYSTEM_ADMIN.value, _("System administrator: accounts, projects, nodes")),
    (SystemRole.SECURITY_ADMIN.value, _("Security administrator: roles, service accounts")),
    (SystemRole.AUDITOR.value, _("Auditor: reads the whole audit trail")),
]
# What a token with the scope may do, beside its name.
SCOPE_WORDS = {
    "read": _("see everything in the project"),
    "data:write": _("add, tag and delete dataset versions"),
    "observations:write": _("send predictions and labels"),
    "jobs:write": _("submit, cancel and retry jobs and pipelines"),
    "runs:write": _("log runs and annotate them"),
    "models:write": _("add model versions, ask for promotion, roll back"),
    "devices:write": _("enrol and change devices, assign releases"),
    "bundles:write": _("build and receive bundles, propose and revoke their signers"),
    "packages:write": _("publish packages, withdraw and restore their versions"),
    "approvals:decide": _("approve and reject"),
    "audit:read": _("read, verify and export the audit trail"),
    "metrics:read": _("open /metrics, and nothing else"),
}


def show_refusal(form: forms.BaseForm, error: PlaneError) -> None:
    """Put a service's errors beside the fields that they name, the others on top."""
    for each in error.errors:
        name = (each["field"] or "").strip("/")
        form.add_error(name if name in form.fields else None, translate_error(each))


class NameForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    class Meta:
        model = User
        fields = ["name"]
        labels = {"name": _("Name")}
        help_texts = {"name": _("Shown to others. The user name does not change: the audit trail refers to it.")}


def list_zone_choices() -> list[tuple[str, Any]]:
    """The zones by continent, so that a select of hundreds can be gone through."""
    by_continent: dict[str, list[tuple[str, str]]] = {}
    for name in sorted(list_time_zones() - {"UTC"}):
        continent, _slash, place = name.partition("/")
        by_continent.setdefault(continent, []).append((name, place.replace("_", " ")))
    return [("", _("As the browser has it")), ("UTC", "UTC"), *by_continent.items()]


class PreferencesForm(forms.Form):
    time_zone = forms.ChoiceField(
        label=_("Time zone"),
        required=False,
        choices=list_zone_choices,
        help_text=_("Of every time on pages, in printed pages and in files of lists. Programs get UTC."),
    )
    language = forms.ChoiceField(
        label=_("Language"),
        required=False,
        choices=lambda: [("", _("As the browser has it")), *settings.LANGUAGES],
        help_text=_("The link at the top, on a phone in the account menu, changes it for this browser alone."),
    )
    theme = forms.ChoiceField(
        label=_("Theme"),
        required=False,
        choices=[("", _("As the system has it")), ("light", _("Light")), ("dark", _("Dark"))],
        help_text=_("The button at the top changes it for this browser alone. Paper is always light."),
    )


def format_scope(scope: str) -> str:
    return format_html('<span>{} <span class="quiet sm">{}</span></span>', scope, SCOPE_WORDS[scope])


class TokenForm(forms.Form):
    name = forms.CharField(
        max_length=80, label=_("What for"), help_text=_("Shown in this list, for instance the tool's name.")
    )
    project = forms.ChoiceField(label=_("Project"))
    scopes = forms.MultipleChoiceField(
        label=_("Scopes"), widget=forms.CheckboxSelectMultiple, help_text=_("Only what the tool needs.")
    )
    days = forms.IntegerField(
        label=_("Valid for, in days"),
        initial=DEFAULT_DAYS,
        min_value=DAYS[0],
        max_value=DAYS[1],
        help_text=_("1 to 366."),
    )

    def __init__(self, *args: Any, usable: dict[Project, list[str]], **kwargs: Any) -> None:
        """`usable`: where the person may make a token, with the scopes that are of use there."""
        super().__init__(*args, **kwargs)
        scopes = {scope for scope_list in usable.values() for scope in scope_list}
        self.fields["project"].choices = [(p.slug, p.slug) for p in usable]  # type: ignore[attr-defined]
        self.fields["scopes"].choices = [(scope, format_scope(scope)) for scope in sorted(scopes)]  # type: ignore[attr-defined]


class PersonForm(forms.Form):
    username = forms.CharField(
        max_length=80, label=_("User name"), help_text=_("Never reused: the audit trail refers to it.")
    )
    name = forms.CharField(max_length=120, required=False, label=_("Name"))
    email = forms.CharField(max_length=254, required=False, label=_("Mail"))


class SystemRoleForm(forms.Form):
    system_role = forms.ChoiceField(choices=SYSTEM_ROLES, required=False, label=_("System role"))
    reason = forms.CharField(max_length=2000, label=_("Reason"), help_text=_("Recorded in the audit trail as written."))


class ExpiryForm(forms.Form):
    expires_at = forms.DateField(
        required=False,
        label=_("Last day"),
        help_text=_("The account ends with this day. Empty: at no date."),
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )
    reason = forms.CharField(max_length=2000, label=_("Reason"), help_text=_("Recorded in the audit trail as written."))


class ClearanceForm(forms.Form):
    clearance = forms.ChoiceField(label=_("Clearance"), help_text=_("The highest security label that the person sees."))
    reason = forms.CharField(
        max_length=2000, required=False, label=_("Reason"), help_text=_("Required where the clearance is raised.")
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["clearance"].choices = [(name, name) for name in list_labels()]  # type: ignore[attr-defined]


class MemberForm(forms.Form):
    project = forms.ChoiceField(label=_("Project"))
    roles = forms.MultipleChoiceField(
        choices=PROJECT_ROLES,
        required=False,
        label=_("Roles"),
        widget=forms.CheckboxSelectMultiple,
        help_text=_("None removes the member and revokes the tokens there."),
    )
    reason = forms.CharField(max_length=2000, label=_("Reason"), help_text=_("Recorded in the audit trail as written."))

    def __init__(self, *args: Any, projects: list[Project], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["project"].choices = [(p.slug, p.slug) for p in projects]  # type: ignore[attr-defined]
