"""The report as a PDF, in Chinese and English side by side. Its font is one that every PDF reader brings (a CID font),
so no file of a font is needed here; a reader without Chinese fonts shows boxes in their place."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from xml.sax.saxutils import escape

from apps.site.compliance.assessment import ClauseVerdict
from apps.site.compliance.clauses import CONTROLS
from apps.site.compliance.models import Gap
from apps.site.compliance.states import Verdict
from apps.site.compliance.texts import Bilingual

FONT = "STSong-Light"
WORDS = {
    Verdict.MET: Bilingual("met", "符合"),
    Verdict.PARTLY: Bilingual("partly", "部分符合"),
    Verdict.NOT_MET: Bilingual("not met", "不符合"),
    Verdict.NOT_APPLICABLE: Bilingual("not applicable", "不适用"),
}
COLOURS = {
    Verdict.MET: "#1a7f37",
    Verdict.PARTLY: "#9a6700",
    Verdict.NOT_MET: "#b42318",
    Verdict.NOT_APPLICABLE: "#57606a",
}


def render_report(
    verdicts: Sequence[ClauseVerdict],
    *,
    run: str,
    at: datetime,
    key_id: str,
    gaps: Mapping[str, Gap],
    since: Mapping[str, datetime],
    feed: str,
) -> bytes:
    """The bytes of the PDF. `key_id`: of the key that signs the folder; `feed`: the advisories that were used."""
    from reportlab.lib import colors
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.cidfonts import UnicodeCIDFont
    from reportlab.platypus import Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

    pdfmetrics.registerFont(UnicodeCIDFont(FONT))
    base = ParagraphStyle("plain", fontName=FONT, fontSize=8, leading=11, wordWrap="CJK")
    small = ParagraphStyle("small", parent=base, fontSize=7, leading=9.5, textColor=colors.HexColor("#444444"))
    title = ParagraphStyle("title", parent=base, fontSize=16, leading=22)
    heading = ParagraphStyle("heading", parent=base, fontSize=11, leading=16, spaceBefore=10, spaceAfter=4)

    def paragraph(text: str, style: ParagraphStyle = base, colour: str = "") -> Paragraph:
        body = escape(text).replace("\n", "<br/>")
        return Paragraph(f'<font color="{colour}">{body}</font>' if colour else body, style)

    story = [
        paragraph("等级保护三级合规证据报告", title),
        paragraph("Evidence of compliance, MLPS level 3 (GB/T 22239-2019)", heading),
        paragraph(f"运行 Run: {run}    时间 Time: {at:%Y-%m-%d %H:%M:%S} UTC    签名密钥 Key: {key_id}"),
        paragraph(f"漏洞库 Advisories: {feed}"),
        paragraph(
            "每项结论来自探测的实际违规尝试或所附证明文件。Each verdict rests on attempts of a probe, or on a document "
            "that a person attached. The signature lies in manifest.json; check it with verify.py."
        ),
        Spacer(1, 6),
        build_summary(verdicts, paragraph, Table, TableStyle, colors),
    ]
    for number, name in CONTROLS.items():
        story.append(paragraph(f"{number} {name.zh} {name.en}", heading))
        rows = []
        for verdict in verdicts:
            if verdict.clause.control != number:
                continue
            word, clause = WORDS[Verdict(verdict.verdict)], verdict.clause
            lines = list_lines(verdict)
            if (first := since.get(clause.id)) is not None:
                lines.append(f"自 since {first:%Y-%m-%d}")
            if (gap := gaps.get(clause.id)) is not None and verdict.verdict in (Verdict.PARTLY, Verdict.NOT_MET):
                lines.append(f"整改 gap: {gap.owner}, {gap.due_on}{overdue(gap.due_on, at.date())} {gap.note}")
            rows.append(
                [
                    paragraph(clause.id),
                    [paragraph(clause.summary.zh), paragraph(clause.summary.en, small)],
                    paragraph(f"{word.zh}\n{word.en}", base, COLOURS[Verdict(verdict.verdict)]),
                    [paragraph(line, small) for line in lines],
                ]
            )
        table = Table(rows, colWidths=(52, 150, 60, 270), repeatRows=0, splitInRow=1)
        table.setStyle(
            TableStyle(
                [
                    ("VALIGN", (0, 0), (-1, -1), "TOP"),
                    ("LINEBELOW", (0, 0), (-1, -1), 0.25, colors.HexColor("#cccccc")),
                ]
            )
        )
        story.append(table)
    out = io.BytesIO()
    document = SimpleDocTemplate(
        out,
        pagesize=A4,
        leftMargin=30,
        rightMargin=30,
        topMargin=36,
        bottomMargin=36,
        title="MLPS level 3",
        invariant=1,
    )
    document.build(story)
    return out.getvalue()


def build_summary(verdicts, paragraph, table, style, colors):  # type: ignore[no-untyped-def]
    """How many clauses have which verdict."""
    counts = {each: sum(1 for verdict in verdicts if verdict.verdict == each) for each in WORDS}
    head = [paragraph(f"{word.zh} {word.en}", colour=COLOURS[each]) for each, word in WORDS.items()]
    result = table([head, [paragraph(str(count)) for count in counts.values()]], colWidths=(133,) * 4)
    result.setStyle(style([("BOX", (0, 0), (-1, -1), 0.5, colors.HexColor("#999999"))]))
    return result


def list_lines(verdict: ClauseVerdict) -> list[str]:
    """What the verdict rests on: first what was not refused."""
    lines: list[str] = []
    for outcome in verdict.outcomes:
        lines += [
            f"× {attempt.text.zh} {attempt.text.en} [{attempt.detail}]"
            for attempt in outcome.attempts
            if not attempt.holds
        ]
        if outcome.reason is not None:
            lines.append(f"{outcome.reason.zh} {outcome.reason.en}")
    if verdict.reason is not None:
        lines.append(f"× {verdict.reason.zh} {verdict.reason.en}")
    for outcome in verdict.outcomes:
        lines += [f"√ {attempt.text.zh} {attempt.text.en}" for attempt in outcome.attempts if attempt.holds]
    lines += [
        f"√ {row.title} ({row.file_name}, {row.owner}, {row.dated_on} – {row.expires_on}) sha256 {row.artifact_id[:16]}"
        for row in verdict.documents
    ]
    return lines


def overdue(due: date, today: date) -> str:
    return " (逾期 overdue)" if due < today else ""
