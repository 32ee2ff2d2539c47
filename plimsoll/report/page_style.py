"""How report.html looks: on a desk, on a phone, in the dark and on paper.

pytest-html's own page starts with a table of plugins, is never narrower than 800 pixels and greys out most text; this
mends all three, so that the verdict comes first, and keeps every pair of colours at a contrast of 4.5 or more.
"""

from __future__ import annotations

from typing import Final

from plimsoll.present.colours import COLOURS

CSS: Final = (
    COLOURS
    + """
body { min-width: 0; max-width: 1400px; margin: 0 auto; padding: 12px 16px; font-size: 14px;
  color: var(--ink); background: var(--paper); }
body { display: flex; flex-direction: column; }
.summary { order: 1; }
#results-table { order: 2; }
/* Our own section tells the stack of the run; this table is empty. */
#environment-header, #environment { display: none; }
h1, h2, h3, p, a, button, #results-table, .filters button, .collapse button, .logwrapper .log { color: var(--ink); }
.logwrapper { background-color: var(--panel); }
#results-table, #results-table th, #results-table td, .logwrapper .log { border-color: var(--rule); }
#results-table td { overflow-wrap: anywhere; }
.controls, .filters { flex-wrap: wrap; gap: 4px 8px; }
.summary__data, .summary__spacer { flex: 1 1 auto; }
span.passed, .passed .col-result { color: var(--good); }
span.skipped, .skipped .col-result, span.xfailed, .xfailed .col-result, span.rerun { color: var(--gap); }
span.failed, .failed .col-result, span.error, .error .col-result, span.xpassed, .xpassed .col-result {
  color: var(--bad); }
.plimsoll { margin: 12px 0 24px; line-height: 1.45; }
.plimsoll h2 { margin: 0 0 6px; font-size: 20px; overflow-wrap: anywhere; }
.plimsoll h3 { display: inline-block; margin: 14px 0 6px; font-size: 15px; }
.plimsoll section > ul { margin: 0; padding-left: 20px; }
.plimsoll li { margin: 3px 0; overflow-wrap: anywhere; }
.plimsoll pre { margin: 4px 0; padding: 6px 8px; white-space: pre-wrap; overflow-wrap: anywhere;
  background: var(--panel); border: 1px solid var(--rule); }
.plimsoll code, .plimsoll pre { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
  font-size: 13px; }
.plimsoll table { border-collapse: collapse; }
.plimsoll th, .plimsoll td { padding: 4px 8px; border: 1px solid var(--rule); text-align: left; }
.plimsoll thead th { background: var(--panel); }
.plimsoll dl { display: grid; grid-template-columns: max-content 1fr; gap: 3px 14px; margin: 0; }
.plimsoll dt { color: var(--faint); }
.plimsoll dd { margin: 0; overflow-wrap: anywhere; }
.plimsoll summary { cursor: pointer; }
.plimsoll h4 { display: inline-block; margin: 8px 0 4px; font-size: 14px; }
.plimsoll details details { margin: 0 0 4px 14px; }
.plimsoll-pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 330px), 1fr));
  gap: 6px 18px; align-items: start; }
.plimsoll figure { margin: 4px 0; }
.plimsoll figcaption { font-weight: bold; font-size: 13px; overflow-wrap: anywhere; }
.plimsoll svg { display: block; width: 100%; height: auto; }
.plimsoll-pictures svg { max-width: 460px; }
.plimsoll figure > div { overflow-x: auto; }
.plimsoll figure > div > svg { min-width: 600px; }
.plimsoll .plimsoll-legend { display: flex; flex-wrap: wrap; gap: 2px 18px; padding: 0; margin: 4px 0;
  list-style: none; }
.plimsoll-legend i { display: inline-block; width: 16px; height: 12px; vertical-align: -1px; }
.plimsoll-legend .plimsoll-key-measured { width: 4px; height: 15px; background: var(--good); }
.plimsoll-key-documented { background: color-mix(in srgb, var(--faint) 22%, transparent);
  border: solid var(--faint); border-width: 0 1px; }
.plimsoll-legend .plimsoll-key-predicted { width: 8px; height: 8px; background: var(--gap); transform: rotate(45deg); }
.plimsoll-key-impossible { background: color-mix(in srgb, var(--bad) 16%, transparent); }
.plimsoll-key-loading { background: var(--gap); }
.plimsoll-key-generating { background: var(--good); }
.plimsoll-key-scoring { background: var(--near); }
.plimsoll-key-training { background: var(--faint); }
.plimsoll-wide { overflow-x: auto; }
.plimsoll-wide table { overflow-wrap: normal; }
.plimsoll-wide th, .plimsoll-wide td:has(.plimsoll-badge) { white-space: nowrap; }
.plimsoll-variants { white-space: nowrap; }
.plimsoll-verdict { padding: 12px 16px; border: 1px solid var(--rule); border-left: 8px solid var(--gap);
  background: var(--panel); }
.plimsoll-verdict.plimsoll-accepted { border-left-color: var(--good); }
.plimsoll-verdict.plimsoll-rejected { border-left-color: var(--bad); }
.plimsoll-verdict.plimsoll-incomplete { border-left-color: var(--near); }
.plimsoll .plimsoll-counts { display: flex; flex-wrap: wrap; gap: 4px 18px; padding: 0; list-style: none; }
.plimsoll-badge { font-weight: bold; }
.plimsoll-pass { color: var(--good); }
.plimsoll-marginal { color: var(--near); }
.plimsoll-fail, .plimsoll-unset { color: var(--bad); }
.plimsoll-skip, .plimsoll-not_run, .plimsoll-waived { color: var(--gap); }
.plimsoll-source, #results-table i { color: var(--faint); font-style: normal; }
#results-table b.pass { color: var(--good); }
#results-table b.marginal { color: var(--near); }
#results-table b.fail, #results-table b.unset { color: var(--bad); }
#results-table td:empty::before { content: "–"; color: var(--faint); }
#results-table .extra:empty::before { content: none; }
.sortable { padding: 0; border: 0; font: inherit; font-weight: bold; background: none; }
.sortable.asc::after, .sortable.desc::after { position: static; display: inline-block; margin-left: 6px;
  border-width: 6px; border-color: currentColor transparent; }
.filters input:disabled, .filters input:disabled + span, .logwrapper .logexpander, .logwrapper:not(:has(.log)),
  .plimsoll-paper { display: none; }
.logwrapper { max-height: 60vh; overflow: auto; }
.logwrapper .log { top: 0; height: auto; min-height: 0; padding: 5px; overflow-wrap: anywhere; }
/* A click on what lies in a cell must reach the cell, which pytest-html's script expects. */
.collapsible td * { pointer-events: none; }
:focus-visible { outline: 2px solid var(--gap); outline-offset: 1px; }
@media (max-width: 600px) {
  body { padding: 8px; }
  .plimsoll-wide td { min-width: 8em; }
  .plimsoll dl { grid-template-columns: 1fr; }
  .plimsoll dd { margin-bottom: 6px; }
  #results-table, #results-table tbody, #results-table tr, #results-table td { display: block; width: auto; }
  #results-table thead { display: block; }
  #results-table tr.hidden { display: none; }
  #results-table th { display: inline-block; border: 0; }
  #results-table th:not(:has(button)), #results-table td:empty { display: none; }
  #results-table .collapsible td { padding: 1px 5px; border: 0; }
  #results-table .collapsible { padding: 5px 0; border-top: 1px solid var(--rule); }
  #results-table .col-testId { font-weight: bold; }
  .plimsoll section > ul, .plimsoll details ul { padding-left: 16px; }
  .plimsoll details details { margin-left: 4px; }
}
@media print {
  .controls, .filter, .media, #results-table tbody.passed { display: none; }
  .plimsoll-paper { display: block; }
  .logwrapper { max-height: none; overflow: visible; }
  .plimsoll-wide { overflow: visible; }
  .plimsoll-wide td, .plimsoll-wide td:has(.plimsoll-badge), .plimsoll-wide th { white-space: normal; }
  .plimsoll svg, .plimsoll-legend i, .plimsoll-verdict { print-color-adjust: exact; }
  .plimsoll figure { break-inside: avoid; }
  .plimsoll section, .plimsoll tr, #results-table tr { break-inside: avoid; }
}
"""
)
"""To be put into a `<style>` element of the page, after pytest-html's own."""
