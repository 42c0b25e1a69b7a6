"""Federated studies: what a coordinating plane defines and runs, and what a site's own plane takes part in.

The two halves share no rows. What goes between the planes are files: an invitation, an enrolment request, a
certificate; and while a study runs, updates over mutual TLS.
"""

from __future__ import annotations

from django.db import models

from apps.core.actors import Actor, SystemRole
from apps.core.encryption.fields import EncryptedTextField
from apps.data.datasets.models import DatasetVersion
from apps.ml.federation.key_cipher import PURPOSE
from apps.ml.federation.states import (
    SITE_MOVES,
    SITE_STUDY_MOVES,
    STUDY_MOVES,
    SiteState,
    SiteStudyState,
    StudyState,
)
from apps.ml.registry.models import ModelVersion
from apps.platform.accounts.models import SLUG, Project
from apps.platform.approvals.models import Approval
from apps.platform.artifacts.models import Artifact
from apps.platform.jobs.models import Job
from apps.platform.nodes.models import Node


def can_read_all(actor: Actor) -> bool:
    """The plane itself, and the auditor at a browser."""
    return bool(actor.plane_role) or (actor.system_role is SystemRole.AUDITOR and actor.scopes is None)


class StudyQuerySet(models.QuerySet["Study"]):
    def visible_to(self, actor: Actor) -> StudyQuerySet:
        return self if can_read_all(actor) else self.filter(project_id__in=actor.project_ids)


class Study(models.Model):
    """A study that this plane coordinates. Its authority signs the certificates of its sites, and nothing else."""

    MOVES = STUDY_MOVES

    project = models.ForeignKey(Project, models.PROTECT, related_name="studies", db_index=False)
    name = models.CharField(max_length=50, validators=[SLUG])
    document = models.JSONField()  # deepseek.federated.spec.StudySpec
    digest = models.CharField(max_length=64)  # of the document
    code = models.ForeignKey(Artifact, models.PROTECT, related_name="+")  # {file name: text}, JSON
    host = models.CharField(max_length=253)  # where sites reach the server of the study
    port = models.IntegerField()
    state = models.CharField(max_length=10, choices=StudyState.choices, default=StudyState.DRAFT)
    authority_certificate = models.TextField()  # PEM
    authority_key = EncryptedTextField(purpose=PURPOSE)  # PEM (key_cipher.py)
    server_certificate = models.TextField()
    server_key = EncryptedTextField(purpose=PURPOSE)  # PEM
    job = models.ForeignKey(Job, models.PROTECT, null=True, related_name="+", db_index=False)
    result = models.JSONField(default=dict)  # federation.json of the job that completed it
    result_version = models.ForeignKey(ModelVersion, models.PROTECT, null=True, related_name="+")
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    objects = StudyQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="study_name")]
        indexes = [
            models.Index(fields=["project", "-id"], name="study_recent"),
            models.Index(fields=["job"], name="study_job", condition=models.Q(job__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.name


class Site(models.Model):
    """A site of a study, as the coordinator knows it. Its private keys are on its own plane alone."""

    MOVES = SITE_MOVES

    study = models.ForeignKey(Study, models.CASCADE, related_name="sites", db_index=False)
    name = models.CharField(max_length=50, validators=[SLUG])
    state = models.CharField(max_length=10, choices=SiteState.choices, default=SiteState.INVITED)
    certificate = models.TextField(blank=True)  # PEM, signed by the authority of the study
    fingerprint = models.CharField(max_length=64, blank=True)  # SHA-256 of the certificate
    public_key = models.CharField(max_length=64, blank=True)  # Ed25519, base64: verifies its egress ledger
    invited_by = models.CharField(max_length=200)
    invited_at = models.DateTimeField(auto_now_add=True)
    joined_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["study", "name"], name="study_site_name")]

    def __str__(self) -> str:
        return self.name

    @property
    def project_id(self) -> int:
        return self.study.project_id


class RoundResult(models.Model):
    """What the server reports of one round."""

    study = models.ForeignKey(Study, models.CASCADE, related_name="rounds", db_index=False)
    number = models.IntegerField()  # from 1
    sites_count = models.IntegerField()  # whose updates were aggregated
    refused_count = models.IntegerField(default=0)  # updates that were not
    metrics = models.JSONField(default=dict)
    epsilon = models.FloatField(null=True)  # spent so far, of the site that has spent most
    recorded_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["study", "number"], name="study_round_once")]

    def __str__(self) -> str:
        return f"round {self.number}"


class SiteStudyQuerySet(models.QuerySet["SiteStudy"]):
    def visible_to(self, actor: Actor) -> SiteStudyQuerySet:
        return self if can_read_all(actor) else self.filter(project_id__in=actor.project_ids)


class SiteStudy(models.Model):
    """A study that this plane takes part in as a site: the imported document, the data, and who approved it."""

    MOVES = SITE_STUDY_MOVES

    project = models.ForeignKey(Project, models.PROTECT, related_name="site_studies", db_index=False)
    name = models.CharField(max_length=100)  # of the study
    site = models.CharField(max_length=50)  # what the coordinator calls this site
    document = models.JSONField()
    digest = models.CharField(max_length=64)
    code = models.ForeignKey(Artifact, models.PROTECT, related_name="+")  # {file name: text}, JSON
    host = models.CharField(max_length=253)
    port = models.IntegerField()
    coordinator = models.CharField(max_length=200, blank=True)  # as the invitation says
    authority_certificate = models.TextField()
    certificate = models.TextField(blank=True)  # PEM, once the coordinator has signed the request
    request = models.TextField()  # PEM of the certificate request
    key = EncryptedTextField(purpose=PURPOSE)  # PEM of the TLS key
    ledger_key = EncryptedTextField(purpose=PURPOSE)  # PEM of the Ed25519 key
    public_key = models.CharField(max_length=64)  # of the ledger key, base64
    state = models.CharField(max_length=10, choices=SiteStudyState.choices, default=SiteStudyState.IMPORTED)
    data = models.ForeignKey(DatasetVersion, models.PROTECT, null=True, related_name="+")
    approval = models.ForeignKey(Approval, models.PROTECT, null=True, related_name="+", db_index=False)
    job = models.ForeignKey(Job, models.PROTECT, null=True, related_name="+", db_index=False)
    # Whose folder has the state and the last updates; jobs of the study run there alone.
    home_node = models.ForeignKey(Node, models.SET_NULL, null=True, related_name="+", db_index=False)
    result = models.JSONField(default=dict)  # what the site's job reported at its end
    imported_by = models.CharField(max_length=200)
    imported_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)

    objects = SiteStudyQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "digest", "site"], name="site_study_once"),
        ]
        indexes = [
            models.Index(fields=["project", "-id"], name="site_study_recent"),
            models.Index(fields=["job"], name="site_study_job", condition=models.Q(job__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.name} at {self.site}"


class LedgerEntryQuerySet(models.QuerySet["LedgerEntry"]):
    def visible_to(self, actor: Actor) -> LedgerEntryQuerySet:
        return self if can_read_all(actor) else self.filter(project_id__in=actor.project_ids)


class LedgerEntry(models.Model):
    """A line of a site's egress ledger: an update that was about to leave, or was refused. Never changed."""

    project = models.ForeignKey(Project, models.PROTECT, related_name="+", db_index=False)  # of the study
    site_study = models.ForeignKey(SiteStudy, models.PROTECT, related_name="ledger", db_index=False)
    entry_digest = models.CharField(max_length=64)  # of the line
    previous = models.CharField(max_length=64, blank=True)  # of the line before
    document = models.JSONField()  # the line: deepseek.federated.spec.LedgerEntry
    round = models.IntegerField()
    kind = models.CharField(max_length=20)
    update_digest = models.CharField(max_length=64)  # of the bytes
    size = models.BigIntegerField()
    norm = models.FloatField(null=True)
    max_abs = models.FloatField(null=True)
    epsilon = models.FloatField(null=True)
    reason = models.CharField(max_length=500, blank=True)  # of a refusal: its code
    at = models.DateTimeField()  # as the site's process wrote it

    objects = LedgerEntryQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["site_study", "entry_digest"], name="ledger_entry_once")]
        indexes = [
            models.Index(fields=["project", "-id"], name="ledger_recent"),
            models.Index(fields=["site_study", "-id"], name="ledger_of_study"),
        ]

    def __str__(self) -> str:
        return self.entry_digest[:12]
