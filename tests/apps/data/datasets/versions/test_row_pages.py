"""Rows of a CSV file, a page at a time."""

import pytest

from apps.core.errors import NotFound
from apps.data.datasets.services import upload_csv
from apps.data.datasets.versions import row_pages
from apps.data.datasets.versions.row_pages import read_rows

pytestmark = pytest.mark.django_db


@pytest.fixture
def viewing(actor_for, viewer):
    return actor_for(viewer)


@pytest.fixture
def csv_version(worker_actor, project, held):
    def upload(data, **more):
        return upload_csv(actor=worker_actor, project=project, dataset_name="raw", artifact=held(data), **more)[0]

    return upload


def walked(viewing, version):
    """Every row, page by page, and how many pages there were."""
    found, pages, at, first = [], 0, 0, 1
    while at is not None:
        page = read_rows(viewing, version, at, first)
        assert page.first == first
        found, pages, at, first = [*found, *page.rows], pages + 1, page.next_at, page.last + 1
    return found, pages


def test_all_rows_are_there_once_and_in_order(viewing, csv_version):
    version = csv_version(b"n\n" + b"".join(b"%d\n" % n for n in range(120)))
    found, pages = walked(viewing, version)
    assert [row[0] for row in found] == [str(n) for n in range(120)]
    assert pages == 3


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_quotes_line_ends_and_encodings(viewing, csv_version, end, encoding):
    text = end.join(["名,b", *(f'甲{n},"x{end}y{n}"' for n in range(70)), ""])
    found, pages = walked(viewing, csv_version(text.encode(encoding), encoding=encoding))
    assert found == [[f"甲{n}", f"x{end}y{n}"] for n in range(70)]
    assert pages == 2


def test_page_ends_before_a_record_that_is_cut(viewing, csv_version, monkeypatch):
    version = csv_version('\ufeff名,b\r\n甲,"1\r\n2"\r\n乙,2\r\n\r\n丙,3\r\n丁,4\r\n'.encode())
    wrong = {}
    for size in range(24, 60):
        monkeypatch.setattr(row_pages, "PREVIEW_BYTES", size)
        shown, _ = walked(viewing, version)
        if shown != [["甲", "1\r\n2"], ["乙", "2"], ["丙", "3"], ["丁", "4"]]:
            wrong[size] = shown
    assert wrong == {}


def test_the_header_stands_over_every_page(viewing, csv_version):
    version = csv_version(b"n,m\n" + b"1,\n" * 60)
    page = read_rows(viewing, version, read_rows(viewing, version).next_at, 51)
    assert (page.columns, page.rows[0], page.last, page.next_at) == (["n", "m"], ["1", None], 60, None)


@pytest.mark.parametrize("at", [10**9, 10**6])
def test_a_place_behind_the_end_has_no_rows(viewing, csv_version, at):
    page = read_rows(viewing, csv_version(b"a\n1\n"), at, 5)
    assert (page.rows, page.next_at) == ([], None)


def test_what_is_no_text_has_no_pages(viewing, added, held):
    assert read_rows(viewing, added({"t.parquet": held(b"PAR1")})[0]) is None


def test_who_may_not_see_it_reads_no_row(stranger, actor_for, csv_version):
    version = csv_version(b"a\n1\n")
    with pytest.raises(NotFound):
        read_rows(actor_for(stranger), version)
