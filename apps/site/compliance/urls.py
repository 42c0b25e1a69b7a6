from django.urls import path

from apps.site.compliance import views

app_name = "compliance"
urlpatterns = [
    path("compliance", views.show_overview, name="overview"),
    path("compliance/runs", views.show_runs, name="runs"),
    path("compliance/runs/new", views.start_run, name="start"),
    path("compliance/runs/<int:pk>", views.show_run, name="run"),
    path("compliance/runs/<int:pk>/folder", views.download_folder, name="folder"),
    path("compliance/clauses/<str:name>", views.show_clause, name="clause"),
    path("compliance/clauses/<str:name>/gap", views.set_gap, name="gap"),
    path("compliance/clauses/<str:name>/documents", views.attach, name="attach"),
    path("compliance/documents/<int:pk>/file", views.download_document, name="document"),
    path("compliance/documents/<int:pk>/withdraw", views.withdraw, name="withdraw"),
]
