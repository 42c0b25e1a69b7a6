from django.urls import path

from apps.site.compliance import api

urlpatterns = [
    path("compliance", api.ComplianceDetail.as_view(), name="api-compliance"),
    path("compliance/runs", api.EvidenceRunList.as_view(), name="api-compliance-runs"),
    path("compliance/runs/<int:pk>", api.EvidenceRunDetail.as_view(), name="api-compliance-run"),
    path("compliance/runs/<int:pk>/folder", api.EvidenceRunFolder.as_view(), name="api-compliance-folder"),
    path("compliance/clauses/<str:clause>/gap", api.ClauseGap.as_view(), name="api-compliance-gap"),
    path("compliance/documents", api.DocumentList.as_view(), name="api-compliance-documents"),
    path("compliance/documents/<int:pk>/file", api.DocumentFile.as_view(), name="api-compliance-document"),
    path("compliance/documents/<int:pk>/withdraw", api.DocumentWithdrawal.as_view(), name="api-compliance-withdraw"),
]
