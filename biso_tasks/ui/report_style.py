"""The style of a report's page: light and dark, for a phone and for paper, nothing fetched."""

from __future__ import annotations

from typing import Final

__all__ = ["CSS"]

CSS: Final = """
:root { color-scheme: light dark; --back: #ffffff; --card: #f4f6f8; --text: #1b2733;
  --soft: #55636f; --edge: #d5dce2; --good: #1a7f4b; --bad: #b3261e; --warn: #8a5a00;
  --still: #5f6b76; --bar: #2f6fb2; }
@media (prefers-color-scheme: dark) {
  :root { --back: #12181e; --card: #1b242c; --text: #e4eaef; --soft: #a3b0bb; --edge: #33414d;
    --good: #5fce95; --bad: #ff8f86; --warn: #f0bd5b; --still: #8d9aa5; --bar: #6aa9e9; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text);
  font: 1rem/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2rem 0 .6rem; }
h3 { font-size: 1rem; margin: 0; display: inline; overflow-wrap: anywhere; }
p, ul { margin: .4rem 0; }
ul { padding-left: 1.2rem; }
code, .run { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: .9em;
  overflow-wrap: anywhere; }
.soft { color: var(--soft); }
.status { font-weight: 600; white-space: nowrap; }
.ok { color: var(--good); } .failed { color: var(--bad); }
.warn { color: var(--warn); } .still { color: var(--still); }
.box { border: 1px solid var(--edge); border-left: .3rem solid; border-radius: .3rem;
  background: var(--card); padding: .7rem 1rem; margin: 1rem 0; }
.box p, .box li { color: var(--text); overflow-wrap: anywhere; }
.box strong { display: block; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .6rem;
  margin: 1.2rem 0 0; padding: 0; }
.cards div { background: var(--card); border: 1px solid var(--edge); border-radius: .3rem;
  padding: .5rem .8rem; }
.cards dt { color: var(--soft); font-size: .85rem; }
.cards dd { margin: 0; font-size: 1.15rem; font-weight: 600; overflow-wrap: anywhere; }
.gantt { display: grid; grid-template-columns: minmax(6rem, max-content) 1fr max-content;
  gap: .15rem .8rem; align-items: center; margin: 0; padding: 0; list-style: none; }
.gantt li { display: contents; }
.gantt .name { overflow-wrap: anywhere; max-width: 16rem; }
.gantt .took { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.gantt svg { display: block; width: 100%; height: .9rem; }
.gantt .grid { stroke: var(--edge); stroke-width: 1; vector-effect: non-scaling-stroke; }
.gantt rect { fill: var(--bar); }
.gantt rect.up { fill: var(--good); }
.gantt rect.failed { fill: var(--bad); } .gantt rect.warn { fill: var(--warn); }
.scale { display: flex; justify-content: space-between; }
details { border-top: 1px solid var(--edge); padding: .5rem 0; break-inside: avoid; }
summary { cursor: pointer; }
summary .soft { margin-left: .5rem; }
table { border-collapse: collapse; margin: .4rem 0; max-width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .15rem .9rem .15rem 0;
  border-bottom: 1px solid var(--edge); overflow-wrap: anywhere; }
th { font-weight: 500; color: var(--soft); overflow-wrap: break-word; }
footer { margin-top: 2.5rem; color: var(--soft); font-size: .85rem; }
@media (max-width: 34rem) {
  table, tbody, tr, th, td { display: block; }
  th { border-bottom: 0; padding-bottom: 0; }
  .gantt { display: block; }
  .gantt li { display: grid; grid-template-columns: 1fr max-content; margin-bottom: .5rem; }
  .gantt svg, .gantt .scale { grid-column: 1 / -1; grid-row: 2; }
  .gantt .took { grid-column: 2; grid-row: 1; }
}
@media print {
  :root { --back: #fff; --card: #fff; --text: #000; --soft: #444; --edge: #bbb; --good: #0b5d33;
    --bad: #9b1c15; --warn: #6d4700; --still: #555; --bar: #333; }
  body { font-size: 10pt; } main { max-width: none; padding: 0; }
  rect { print-color-adjust: exact; }
  details::details-content { content-visibility: visible; block-size: auto; }
}
"""
