"""The report as Markdown, for a README or a pull request; it has the tables, not the plots."""

from __future__ import annotations

from client.report.content import Report, Table


def markdown(report: Report) -> str:
    """The text, tables in GitHub's syntax."""
    parts = [f"## {_escaped(report.title)}", _escaped(report.verdict)]
    if report.faults:
        lines = "\n".join(f"- {_escaped(fault)}" for fault in report.faults)
        parts.append(f"**Wrong answers: no figure of these models counts.**\n\n{lines}")
    parts += [f"**Incomplete.** {_escaped(reason)}" for reason in report.incomplete]
    if report.warnings:
        lines = "\n".join(f"- {_escaped(warning)}" for warning in report.warnings)
        parts.append(f"Not to be trusted without a second look:\n\n{lines}")
    for section in report.sections:
        if not section.tables:
            continue
        parts.append(f"### {section.title}")
        parts += [_escaped(section.note)] if section.note else []
        for table in section.tables:
            parts.append(_table(table))
            parts += [_escaped(table.caption)] if table.caption else []
    return "\n\n".join(parts) + "\n"


def _table(table: Table) -> str:
    rule = ["---", *("---:" for _ in table.columns[1:])]
    rows = [table.columns, rule, *table.rows]
    lines = [" | ".join(cell if row is rule else _escaped(cell) for cell in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def _escaped(text: str) -> str:
    for character in "\\|<>*_`":
        text = text.replace(character, f"\\{character}")
    return text.replace("\n", " ")
