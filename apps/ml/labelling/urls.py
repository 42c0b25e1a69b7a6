"""Pages below /p/<slug:project>/."""

from django.urls import path

from apps.ml.labelling import lists, views

app_name = "labelling"
urlpatterns = [
    path("labelling", lists.show_labellings, name="list"),
    path("labelling/servers", views.add_server, name="servers"),
    path("labelling/servers/<slug:name>", views.show_server, name="server"),
    path("labelling/servers/<slug:name>/delete", views.delete_server, name="delete_server"),
    path("labelling/schemas", views.add_schema, name="schemas"),
    path("labelling/schemas/<slug:name>/<int:schema_version>", views.show_schema, name="schema"),
    path("labelling/schema-versions/<int:pk>", views.find_schema, name="schema_by_id"),
    path("labelling/<int:pk>", views.show_labelling, name="project"),
    path("labelling/<int:pk>/sync", views.synchronize, name="sync"),
    path("labelling/<int:pk>/close", views.close, name="close"),
    path("labelling/<int:pk>/bar", views.set_bar, name="bar"),
    path("labelling/<int:pk>/result", views.publish, name="result"),
    path("labelling/<int:pk>/train", views.train, name="train"),
    path("labelling/<int:pk>/tasks/<int:task>", views.show_task, name="task"),
    path("labelling/<int:pk>/tasks/<int:task>/reopen", views.reopen, name="reopen"),
    path("labelling/<int:pk>/tasks/<int:task>/gold", views.toggle_gold, name="gold"),
]
