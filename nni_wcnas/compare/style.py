"""The CSS that a comparison adds to the style of every page: colours of methods, plots, tables and print."""

__all__ = ['STYLE']

STYLE = '''
:root { --m0: #0063a5; --m1: #b3470f; --m2: #00795a; --m3: #8a3b84; --m4: #8a6a00; --m5: #5b6472; --good: #00795a;
  --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --m0: #5db4f2; --m1: #f3a25f; --m2: #45c9a0; --m3: #d894d1; --m4: #e0c050;
  --m5: #a3acba; --good: #45c9a0; --bad: #ff8a80; } }
@media print { :root { --m0: #0063a5; --m1: #b3470f; --m2: #00795a; --m3: #8a3b84; --m4: #8a6a00; --m5: #5b6472;
  --good: #00795a; --bad: #b3261e; } .scroll { overflow: visible !important; } body { font-size: 11px; }
  details::details-content { content-visibility: visible; }
  .grid.plots { grid-template-columns: repeat(3, 1fr); }
  .grid.hardest { grid-template-columns: repeat(4, 1fr); } th, td { padding-right: .6rem; } }
.verdict { font-size: 1.15rem; line-height: 1.45; padding: .9rem 1.1rem; margin: 1rem 0;
  border-left: 4px solid var(--m0);
  background: var(--panel); border-radius: 0 .5rem .5rem 0; max-width: none; }
.sd { color: var(--soft); font-weight: 400; font-size: .88em; } .none { color: var(--soft); }
th[scope="row"] { white-space: nowrap; }
tr.total th, tr.total td { border-top: 2px solid var(--line); }
main { max-width: 76rem; }
.scroll .number { white-space: normal !important; overflow-wrap: normal; } .scroll .sd { white-space: nowrap; }
.grid.plots { margin-top: 1rem; align-items: start; } .scroll + .soft { margin-bottom: 0; }
svg.curve text.name { fill: var(--ink); font-size: 11px; }
svg.curve .bar { fill: none; stroke-width: 1.6; } svg.curve .seed { fill: none; stroke-width: 1; opacity: .65; }
svg.curve .m0 { --mark: var(--m0); } svg.curve .m1 { --mark: var(--m1); } svg.curve .m2 { --mark: var(--m2); }
svg.curve .m3 { --mark: var(--m3); } svg.curve .m4 { --mark: var(--m4); } svg.curve .m5 { --mark: var(--m5); }
svg.curve .mark, svg.curve .bar, svg.curve .path, svg.curve circle.seed { stroke: var(--mark); }
svg.curve .mark { fill: var(--mark); stroke-width: 1.5; }
svg.curve .mark.hollow, svg.curve .mark.dotted { fill: var(--panel); }
svg.curve .path.hollow { stroke-dasharray: 6 3; } svg.curve .path.dotted { stroke-dasharray: 2 2.5; }
svg.curve.mini { display: inline-block; width: .85rem; height: .85rem; vertical-align: -.1rem; margin-right: .3rem; }
.key { margin-right: 1rem; font-weight: 600; color: var(--ink); white-space: nowrap; }
details { border-top: 1px solid var(--line); padding: .5rem 0; } summary { cursor: pointer; font-weight: 600; }
.cells { display: grid; gap: 1rem; margin-top: .6rem;
  grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); }
.grid.hardest { grid-template-columns: repeat(auto-fill, minmax(min(14rem, 100%), 1fr)); }
.hard img { width: 5rem; image-rendering: pixelated; border-radius: .25rem; margin-bottom: .3rem; }
.hard table { width: 100%; font-size: .85rem; margin-top: .4rem; } .hard td { padding: .15rem .5rem .15rem 0; }
.hard td.number { padding-right: 0; white-space: nowrap; }
tr.right td:nth-child(2) { color: var(--good); } tr.wrong td:nth-child(2) { color: var(--bad); }
code { overflow-wrap: anywhere; }
'''
