"""The section with the models: a bullet chart for each of memory, RAM and load time, and the figures as a table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from plimsoll.evidence.record import RunRecord
from plimsoll.extras import why_no_pictures
from plimsoll.judge.judgement import Limit
from plimsoll.metrics import METRICS
from plimsoll.present.html_elements import badge, cell, row_head, safe, unfolding, wide_table
from plimsoll.report.figures import Documented, Figure, ModelFigures, model_figures
from plimsoll.report.section import Section
from plimsoll.units import format_value

_HEAD: Final = ("Variant", "Figure", "Measured", "Documented", "Predicted", "Impossible")
_LEGEND: Final = (
    ("measured", "measured, in the colour of its outcome"),
    ("documented", "documented; a line at each bound"),
    ("predicted", "predicted before loading"),
    ("impossible", "impossible by arithmetic"),
)


def model_section(record: RunRecord) -> Section | None:
    """Every model of the plan; those that something was measured of stand open."""
    models = model_figures(record)
    if not models:
        return None
    missing = why_no_pictures()
    shown = sorted(models, key=lambda model: not model.is_measured)
    parts = [f"<p>{safe(missing)}</p>" if missing else _legend()]
    parts += [_model(model, number, drawn=missing is None) for number, model in enumerate(shown)]
    return Section(title="Memory and load time, by model", html="".join(parts))


def _legend() -> str:
    entries = "".join(f'<li><i class="plimsoll-key-{name}"></i> {text}</li>' for name, text in _LEGEND)
    return f'<ul class="plimsoll-legend" aria-label="Key to the pictures">{entries}</ul>'


def _model(model: ModelFigures, number: int, *, drawn: bool) -> str:
    pictures = f'<div class="plimsoll-pictures">{_pictures(model, number)}</div>' if drawn else ""
    table = wide_table(f"Figures of {model.model}", _HEAD, map(_row, model.figures))
    figures = unfolding("Figures", table, is_open=not drawn)
    note = "" if model.is_measured else ' <span class="plimsoll-source">nothing measured</span>'
    return unfolding(f"<h4>{safe(model.model)}</h4>{note}", pictures + figures, is_open=model.is_measured)


def _pictures(model: ModelFigures, number: int) -> str:
    # Half a second to import, and not everywhere there: only where something is drawn.
    from plimsoll.report.bullet_chart import bullet_chart

    return "".join(
        f'<figure role="img" aria-label="{safe(f"{panel.title}, {model.model}: {_in_words(panel.figures)}")}">'
        f"<figcaption>{safe(panel.title)}</figcaption>{bullet_chart(panel, f'bullet-{number}-{place}')}</figure>"
        for place, panel in enumerate(model.panels)
    )


def _in_words(figures: Iterable[Figure]) -> str:
    return "; ".join(f"{figure.variant} {_measured(figure)}" for figure in figures)


def _row(figure: Figure) -> list[str]:
    outcome = "" if figure.outcome is None else f"{badge(figure.outcome.value)} "
    return [
        row_head(figure.variant),
        f'<td title="{safe(METRICS[figure.metric].meaning)}">{figure.metric}</td>',
        f"<td>{outcome}{safe(_measured(figure))}</td>",
        f"<td>{'<br>'.join(map(_documented, _limits(figure))) or '&ndash;'}</td>",
        cell(_predicted(figure)),
        cell(_impossible(figure)),
    ]


def _measured(figure: Figure) -> str:
    if not figure.measured:
        return f"not measured: {figure.why}" if figure.why else "not measured"
    return ", ".join(format_value(value, METRICS[figure.metric].unit) for value in figure.measured)


def _limits(figure: Figure) -> list[tuple[str, Documented]]:
    return [
        (str(Limit(metric=figure.metric, low=said.low, high=said.high, source="document")), said)
        for said in figure.documented
        if said.low is not None or said.high is not None
    ]


def _documented(limit: tuple[str, Documented]) -> str:
    text, said = limit
    disputed = ", disputed" if said.disputed else ""
    return f'{safe(text)}{disputed} <span class="plimsoll-source">{safe(said.source)}</span>'


def _predicted(figure: Figure) -> str:
    expected = figure.bounds.expected
    if expected is None:
        return f"no figure: {figure.bounds.basis}"
    return f"{format_value(expected, METRICS[figure.metric].unit)}: {figure.bounds.basis}"


def _impossible(figure: Figure) -> str:
    unit = METRICS[figure.metric].unit
    least = f"below {format_value(figure.bounds.least, unit)}" if figure.bounds.least else ""
    most = "" if figure.bounds.most is None else f"above {format_value(figure.bounds.most, unit)}"
    return ", ".join(text for text in (least, most) if text) or "–"
