"""Chinese pages without the spaces between sentences; nothing else is touched."""

from __future__ import annotations

import pytest
from django.http import HttpResponse
from django.utils.translation import override

from apps.web.zh_typography import ZhTypography, strip_spaces


@pytest.mark.parametrize(
    ("html", "told"),
    [
        ("<p>好。 <b>更好</b>， 最好。 </p>", "<p>好。<b>更好</b>，最好。</p>"),
        ("<b>好。</b> 目前指向它", "<b>好。</b>目前指向它"),
        ("Good. Better (best), 好 stays", "Good. Better (best), 好 stays"),
    ],
)
def test_room_beside_full_width_marks(html, told):
    assert strip_spaces(html) == told


@pytest.mark.parametrize(
    "html",
    [
        '<input value="params.note = \'好。 坏\'" title="好。 坏">',
        "<option>params.键， 一</option>",
        "<pre>好。 好</pre>",
        '<code class="a">好。 好</code>',
        "<textarea>好。 好</textarea>",
        "<script>a = '。 b'</script>",
        '<ol class="log" tabindex="0"><li><span>进度：   50%</span></li></ol>',
    ],
)
def test_what_is_written_sent_or_run_stays(html):
    assert strip_spaces(html) == html


def test_blanks_are_looked_at_once():
    """A tag may be blanks to its limit: a pattern that begins anew at each of these would not end before the test's."""
    text = f"<p>a{' ' * 2_000_000}b</p>"
    assert strip_spaces(text) == text


@pytest.mark.django_db
def test_a_page_in_chinese_alone(web, engineer):
    client = web(engineer)
    engineer.language = "zh-hans"
    engineer.save()
    assert "。 " not in client.get("/account").content.decode()
    engineer.language = "en"
    engineer.save()
    english = client.get("/account").content.decode()
    assert "。" not in english


def test_a_file_and_what_programs_get_stay(rf):
    for path, headers in (("/api/v1/card.html", {}), ("/x", {"Content-Disposition": "attachment"})):
        answer = HttpResponse("好。 好", headers=headers)
        with override("zh-hans"):
            assert ZhTypography(lambda request, answer=answer: answer)(rf.get(path)).content.decode() == "好。 好"
    with override("zh-hans"):
        assert ZhTypography(lambda request: HttpResponse("好。 好"))(rf.get("/x")).content.decode() == "好。好"
