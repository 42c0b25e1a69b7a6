"""The tab of a run's artifacts: one folder at a time, in pages, with a way up."""

from __future__ import annotations

import re
from html import unescape

import pytest

from apps.ml.experiments.files import page
from apps.ml.experiments.files.tree import list_files, paginate_folder
from apps.ml.experiments.models import RunArtifact

pytestmark = [pytest.mark.django_db, pytest.mark.services]

PATHS = ("b.txt", "images/2/a.png", "images/10/a.png", "images/note.txt", "Images/x", "a.txt", "images%/y")


@pytest.fixture(autouse=True)
def _folders(monkeypatch):
    """As where there are many."""
    monkeypatch.setattr(page, "FEW", 0)


@pytest.fixture
def put(run, artifact):
    """put(path, ...) -> artifacts of the run at these paths."""

    def make(*paths):
        facts = {"run": run, "artifact": artifact, "size": 5, "media_type": "image/png"}
        return RunArtifact.objects.bulk_create(RunArtifact(path=path, **facts) for path in paths)

    return make


@pytest.fixture
def names(read, run):
    """names(query) -> what the tab lists; of folders with a stroke behind."""

    return lambda query="": names_in(read(f"/{run.pk}/artifacts{query}"))


def names_in(text) -> list[str]:
    rows = re.findall(r'<tr><th scope="row"><a[^>]*>(.*?)</a></th>', text)
    return [unescape(row.replace("<wbr>", "")) for row in rows]


def link(text, rel):
    return unescape(re.search(rf'rel="{rel}" href="([^"]*)"', text)[1])


def test_a_folder_shows_its_folders_first_and_nothing_of_others(names, put):
    put(*PATHS)
    assert sorted(names()[:3]) == ["Images/", "images%/", "images/"]
    assert names()[3:] == ["a.txt", "b.txt"]
    assert names("?folder=images") == ["10/", "2/", "note.txt"]
    assert names("?folder=images/2") == ["a.png"]


def test_few_are_shown_at_once(names, put, monkeypatch):
    put(*PATHS)
    monkeypatch.setattr(page, "FEW", len(PATHS))
    assert names() == names("?preview=a.txt")
    assert sorted(names()) == sorted(PATHS)
    assert names("?folder=images") == ["10/", "2/", "note.txt"]
    put("one/more")
    assert "one/" in names()


def test_folders_lead_down_and_the_crumb_up(read, run, put):
    put(*PATHS)
    first = read(f"/{run.pk}/artifacts?folder=images&limit=1")
    text = read(f"/{run.pk}/artifacts{link(first, 'next')}&preview=a.txt")
    assert 'href="?folder=images%2F2&amp;limit=1">2/</a>' in text
    text = read(f"/{run.pk}/artifacts?folder=images/2")
    assert re.search(r'href="\?folder=images">images</a>\s*<span aria-current="page">2</span>', text)
    assert f'href="?">{run.pk[:8]}</a>' in text


def test_a_folder_is_read_page_by_page(read, run, names, put):
    put(*(f"images/{number:04}.png" for number in range(45)))
    seen, query = [], "?folder=images&limit=20"
    for _page in range(3):
        text = read(f"/{run.pk}/artifacts{query}")
        seen += names_in(text)
        query = link(text, "next") if len(seen) < 45 else ""
    assert seen == [f"{number:04}.png" for number in range(45)]
    assert names(link(text, "prev")) == seen[20:40]


@pytest.mark.parametrize("limit", [1, 2, 3, 5])
def test_forward_and_back_meet_every_name_once(run, put, limit):
    put(*PATHS, "数/x", "数.txt")
    rows = list_files(run)
    whole = paginate_folder(rows, "", limit=50)
    pages = [paginate_folder(rows, "", limit=limit)]
    while pages[-1].next:
        pages.append(paginate_folder(rows, "", limit=limit, cursor=pages[-1].next))
    assert [item for page in pages for item in page.items] == whole.items
    assert len(whole.items) == 7
    back = [pages[-1]]
    while back[0].previous:
        back.insert(0, paginate_folder(rows, "", limit=limit, cursor=back[0].previous))
    assert [page.items for page in back] == [page.items for page in pages]


def test_a_page_costs_two_queries_that_read_no_more_than_it_shows(run, put, django_assert_num_queries):
    put(*(f"{number}/x" for number in range(30)), *(f"f{number}" for number in range(30)))
    second = paginate_folder(list_files(run), "", limit=20, cursor=paginate_folder(list_files(run), "", limit=25).next)
    with django_assert_num_queries(2) as asked:
        paginate_folder(list_files(run), "", limit=40)
    assert all("LIMIT" in query["sql"] for query in asked.captured_queries)
    with django_assert_num_queries(1):
        paginate_folder(list_files(run), "", limit=10, cursor=second.next)


def test_a_file_alone_is_shown_beside_its_folder(read, run, keep):
    keep(run, "out/a.txt", b"what it says")
    text = read(f"/{run.pk}/artifacts?preview=out/a.txt")
    assert "what it says" in text
    assert 'href="?folder=out">Close</a>' in text
    assert 'aria-current="page">out</span>' in text


def test_an_unknown_folder_is_404(read, run, put):
    put(*PATHS)
    for folder in ("nothing", "a.txt", "image", "%00", "x" * 600):
        read(f"/{run.pk}/artifacts?folder={folder}", status=404)


def test_a_cursor_of_another_list_is_refused(read, run, put):
    put(*PATHS)
    read(f"/{run.pk}/artifacts?cursor=x", status=400)


def test_the_overview_shows_a_few_and_leads_to_all(read, run, put):
    put(*(f"f{number}" for number in range(10)))
    assert ">All<" not in read(f"/{run.pk}")
    put("g")
    text = read(f"/{run.pk}")
    assert "All" in text
    assert "<dt>g</dt>" not in text
