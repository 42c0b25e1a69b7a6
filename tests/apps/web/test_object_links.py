"""Inputs of a job or a run as its page lists them."""

from apps.platform.jobs.models import JobInput
from apps.web.templatetags.object_links import collapse_folders


def test_a_folder_of_many_files_is_one_row():
    many = {f"images/{number}.png": f"d{number}" for number in range(60)}
    few = {"base/config.json": "c", "base/model.safetensors": "m"}
    rows = collapse_folders({"manifest": "a", **many, **few})
    assert rows == [
        ("manifest", "a", 0),
        ("images", None, 60),
        ("base/config.json", "c", 0),
        ("base/model.safetensors", "m", 0),
    ]


def test_rows_of_a_job_likewise():
    table, files = JobInput(slot="model"), [JobInput(slot=f"table/{number}.png") for number in range(6)]
    assert collapse_folders([table, *files]) == [("model", table, 0), ("table", None, 6)]
