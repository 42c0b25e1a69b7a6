"""The menu of views on a list, and the list that opens with one."""

from apps.platform.preferences.models import SavedView


def post(client, where="/views", **body):
    return client.post(where, {"back": "/p/demo/jobs?state=failed&cursor=x", **body})


def test_kept_from_the_list_it_leads_to_itself(web, engineer, project):
    body = {"listing": "jobs", "project": "demo", "name": "Broken", "query": "state=failed"}
    answer = post(web(engineer), **body, is_default="1")
    assert (answer.status_code, answer.url) == (302, "/p/demo/jobs?state=failed")
    assert SavedView.objects.get().is_default


def test_a_list_opens_with_the_default(web, engineer, keep):
    keep(is_default=True)
    client = web(engineer)
    assert client.get("/p/demo/jobs").url == "/p/demo/jobs?state=failed"
    assert client.get("/p/demo/jobs?view=all").status_code == 200
    assert client.get("/p/demo/jobs?kind=noop").status_code == 200
    assert client.get("/p/demo/runs").status_code == 200


def test_the_default_of_one_is_not_that_of_others(web, viewer, keep):
    keep(is_default=True)
    assert web(viewer).get("/p/demo/jobs").status_code == 200


def test_the_menu_shows_ones_own(web, engineer, viewer, keep):
    keep("Broken <b>")
    assert "Broken &lt;b&gt;" in web(engineer).get("/p/demo/jobs").content.decode()
    assert "Broken" not in web(viewer).get("/p/demo/jobs").content.decode()


def test_renamed_made_default_and_deleted(web, engineer, keep):
    view, client = keep(), web(engineer)
    assert post(client, f"/views/{view.pk}", name="Failed").url == "/p/demo/jobs?state=failed&cursor=x"
    post(client, f"/views/{view.pk}", is_default="1")
    view.refresh_from_db()
    assert (view.name, view.is_default) == ("Failed", True)
    post(client, f"/views/{view.pk}", is_default="0")
    view.refresh_from_db()
    assert view.is_default is False
    post(client, f"/views/{view.pk}/delete")
    assert SavedView.objects.count() == 0


def test_what_is_wrong_is_said_on_the_list(web, engineer, keep):
    keep()
    client = web(engineer)
    body = {"listing": "jobs", "project": "demo", "name": "Broken", "query": ""}
    assert "already" in client.post("/views", body | {"back": "/p/demo/jobs"}, follow=True).content.decode()


def test_the_way_back_stays_on_this_host(web, engineer, keep):
    client = web(engineer)
    for back in ("//evil.example/", "https://evil.example/", "javascript:alert(1)", ""):
        assert client.post(f"/views/{keep().pk}/delete", {"back": back}).url == "/", back


def test_somebody_elses_is_not_there(web, viewer, keep):
    view, client = keep(), web(viewer)
    assert post(client, f"/views/{view.pk}", name="x").status_code == 404
    assert post(client, f"/views/{view.pk}/delete").status_code == 404
