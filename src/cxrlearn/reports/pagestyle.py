"""How report.html looks: on a phone, on a desk, in the dark and on paper."""

STYLE = """
:root {
  color-scheme: light dark;
  --ink: #1d2329; --soft: #57606a; --paper: #ffffff; --card: #f5f7f9; --line: #d5dbe1;
  --accent: #0b5c94; --alarm-ink: #7a1d00; --alarm: #fff0e8;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e4e8ec; --soft: #a2acb6; --paper: #14181c; --card: #1d2329; --line: #3a434c;
    --accent: #7cc0f0; --alarm-ink: #ffc9b0; --alarm: #3d1d10;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1rem; max-width: 68rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  overflow-wrap: anywhere;
}
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0.5rem 0 0; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 0.6rem; padding-top: 0.8rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.6rem 0 0.4rem; }
p, ul, ol, dl { margin: 0.5rem 0; }
p, ul, ol { max-width: 46rem; }
nav ul { max-width: none; }
ul, ol { padding-left: 1.3rem; }
li { margin: 0.25rem 0; }
a { color: var(--accent); }
.soft { color: var(--soft); }
.alarm { background: var(--alarm); color: var(--alarm-ink); border-left: 4px solid currentColor;
  padding: 0.6rem 0.8rem; font-weight: 600; }
nav ul { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: 0.2rem 1.1rem; }
.scroll { overflow-x: auto; margin: 0.6rem 0; border: 1px solid var(--line); border-radius: 6px;
  -webkit-overflow-scrolling: touch; }
.scroll:focus-visible { outline: 2px solid var(--accent); }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem;
  font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: 0.3rem 0.6rem; text-align: right; vertical-align: top; white-space: nowrap; }
th { background: var(--card); font-weight: 600; border-bottom: 1px solid var(--line);
  white-space: normal; vertical-align: bottom; }
tbody tr + tr > * { border-top: 1px solid var(--line); }
th:first-child { text-align: left; position: sticky; left: 0; min-width: 7.5rem;
  max-width: 13rem; overflow-wrap: break-word; }
tbody th { background: var(--paper); font-weight: 400; border-bottom: 0; vertical-align: top; }
tbody tr.average > * { font-weight: 600; background: var(--card); }
td.words { text-align: left; white-space: normal; min-width: 16rem; }
.ci { color: var(--soft); font-weight: 400; }
.wide .ci { display: block; }
.wide th, .wide td { padding-left: 0.35rem; padding-right: 0.35rem; }
sup { line-height: 0; }
sup a { text-decoration: none; padding: 0 0.15em; }
figure { margin: 1rem 0; }
figure img { display: block; width: 100%; max-width: 34rem; height: auto; background: #ffffff;
  border: 1px solid var(--line); border-radius: 6px; padding: 0.3rem; }
figcaption { color: var(--soft); font-size: 0.9rem; margin-top: 0.3rem; max-width: 34rem; }
.figures { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); }
.figures figure { margin: 0; }
details { margin: 0.8rem 0; }
summary { cursor: pointer; font-weight: 600; }
dl { display: grid; grid-template-columns: minmax(7rem, max-content) minmax(0, 1fr);
  gap: 0.15rem 1rem; font-size: 0.9rem; }
dt { color: var(--soft); }
dd { margin: 0; }
pre { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 6px;
  padding: 0.6rem; font-size: 0.85rem; overflow-wrap: normal; }
@media (max-width: 30rem) {
  .ci { display: block; }
  th, td { padding: 0.25rem 0.45rem; }
  th:first-child { min-width: 6rem; max-width: 8rem; }
  .figures img { padding: 0; }
  dl { grid-template-columns: minmax(0, 1fr); }
  dd { margin-bottom: 0.4rem; }
}
@media print {
  :root { --ink: #000; --soft: #444; --paper: #fff; --card: #fff; --line: #bbb; --accent: #000; }
  body { max-width: none; padding: 0; font-size: 9.5pt; }
  nav { display: none; }
  .scroll { overflow: visible; border: 0; }
  table { font-size: 8pt; }
  th, td { white-space: normal; padding: 0.15rem 0.3rem; }
  th:first-child { position: static; min-width: 0; }
  h2, h3 { break-after: avoid; }
  tr, figure { break-inside: avoid; }
  figure img { width: 8.5cm; border: 0; padding: 0; }
  details::details-content { content-visibility: visible; display: block; }
}
"""
"""The style sheet, whole. Figures keep white paper in the dark: their lines are drawn for it."""
