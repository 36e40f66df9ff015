"""The report as one HTML file that needs nothing else: no script, no font, no network."""

from __future__ import annotations

from client.report.content import Report


def html(report: Report) -> str:
    """The page; every text in it is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("client", "report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("report.html.j2").render(report=report)
