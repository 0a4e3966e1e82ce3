/** The style of the report page: light and dark, screen and print, from 320 px upwards. */
export const STYLE: string = `
:root { color-scheme: light dark; --paper: #fbfaf7; --card: #fff; --ink: #22252b; --soft: #6b7079; --rule: #e4e1d8; --accent: #2f6f5e; --dot: #9fc3b8; --bad: #a8432f; --third: #8a6d1f; }
@media screen and (prefers-color-scheme: dark) { :root { --paper: #16181b; --card: #1e2125; --ink: #e6e4de; --soft: #9aa0a8; --rule: #31353b; --accent: #6fc2a8; --dot: #3f6f62; --bad: #e08a76; --third: #d6b45c; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 40px 20px 64px; }
h1 { margin: 0 0 12px; font-size: 30px; line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin: 44px 0 14px; font-size: 20px; }
.kicker { margin: 0 0 6px; color: var(--soft); font-size: 14px; }
.gate { display: inline-block; margin: 0; padding: 3px 12px; border-radius: 99px; border: 1px solid; font-size: 14px; }
.gate.open { color: var(--accent); } .gate.shut { color: var(--bad); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, max(128px, var(--longest) * 1ch + 34px)), 1fr)); gap: 12px; margin-top: 28px; font-size: 24px; font-weight: 700; font-variant-numeric: tabular-nums; }
.figure { padding: 14px 16px; background: var(--card); border: 1px solid var(--rule); border-radius: 10px; }
.figure b { display: block; overflow-wrap: anywhere; }
.figure span { display: block; color: var(--soft); font-size: 13px; font-weight: 400; }
figure { min-width: 0; margin: 0; padding: 12px 16px 34px; background: var(--card); border: 1px solid var(--rule); border-radius: 10px; break-inside: avoid; }
figcaption { margin-bottom: 12px; font-size: 14px; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap: 14px; } .plots figure:first-child { grid-column: 1 / -1; }
.plot { position: relative; height: 190px; margin-left: 46px; }
.plot[data-series] { touch-action: pan-y; cursor: crosshair; }
.plot:focus-visible { outline: 2px solid var(--accent); outline-offset: 4px; }
.area { display: block; width: 100%; height: 100%; overflow: visible; }
.grid { stroke: var(--rule); } .tick { fill: var(--soft); font: 12px system-ui, sans-serif; } .tick.x { text-anchor: middle; } .tick.y { text-anchor: end; }
.curves path { vector-effect: non-scaling-stroke; fill: none; stroke-linejoin: round; }
.dots { stroke-width: 3.4; stroke-linecap: round; } .line { stroke-width: 2; }
.dots.soft, .line.soft, .whisker.soft { stroke: var(--dot); } .dots.strong, .line.strong, .whisker.strong { stroke: var(--accent); } .dots.third, .line.third, .whisker.third { stroke: var(--third); }
.dots.fourth, .line.fourth, .whisker.fourth { stroke: var(--bad); } .dots.fifth, .line.fifth, .whisker.fifth { stroke: var(--soft); }
.curves .again { fill: var(--bad); opacity: 0.14; stroke: none; } .curves .resume { stroke: var(--bad); stroke-width: 1; stroke-dasharray: 3 3; } .curves .resume.stop { stroke: var(--soft); }
.sign { overflow: visible; } .sign path { stroke: var(--bad); stroke-width: 2; fill: none; } .sign.resume path { fill: var(--accent); stroke: none; } .sign.stop path { stroke: var(--soft); }
.cursor { position: absolute; top: 0; bottom: 0; width: 1px; background: var(--ink); pointer-events: none; }
.selection { position: absolute; top: 0; bottom: 0; background: var(--accent); opacity: 0.2; pointer-events: none; }
.readout { display: block; min-height: 1.55em; font-size: 13px; font-variant-numeric: tabular-nums; }
.tools { display: flex; align-items: start; justify-content: space-between; gap: 16px; min-height: 48px; margin-bottom: 10px; } .tools .note { margin: 0; } .tools button { flex: none; padding: 4px 12px; border: 1px solid; border-radius: 99px; background: var(--card); color: var(--accent); font: inherit; font-size: 14px; cursor: pointer; }
.key { margin-right: 10px; color: var(--soft); font-size: 13px; white-space: nowrap; } .key::before { content: ""; display: inline-block; width: 10px; height: 10px; margin-right: 5px; border-radius: 50%; } .key.line::before { height: 3px; border-radius: 2px; vertical-align: middle; }
.key.soft::before { background: var(--dot); } .key.strong::before { background: var(--accent); } .key.third::before { background: var(--third); } .key.bad::before, .key.fourth::before { background: var(--bad); } .key.faint::before, .key.fifth::before { background: var(--soft); }
.keys { margin: 0 0 8px; }
.bar { fill: var(--accent); }
.intervals { display: block; width: 100%; min-width: 130px; } .whisker { stroke-width: 2; } .estimate.soft { fill: var(--dot); } .estimate.strong { fill: var(--accent); } .estimate.third { fill: var(--third); } .estimate.fourth { fill: var(--bad); } .estimate.fifth { fill: var(--soft); }
.shares { display: block; width: 100%; height: 22px; margin-bottom: 8px; border-radius: 6px; } .part.strong { fill: var(--accent); } .part.soft { fill: var(--dot); } .part.bad { fill: var(--bad); } .part.third { fill: var(--third); } .part.faint { fill: var(--soft); }
.wide { overflow-x: auto; margin: 10px 0; } .wide table { min-width: 100%; font-size: 14px; } .wide th, .wide td { padding-right: 14px; overflow-wrap: normal; } .wide thead th { white-space: nowrap; } .wide th { width: auto; }
.wide .note { display: block; min-width: 9em; margin: 0; font-weight: 400; } .wide code { overflow-wrap: anywhere; }
details { margin: 12px 0; } summary { color: var(--accent); font-weight: 600; cursor: pointer; } details article { margin-top: 16px; }
code { font-size: 13px; }
article { margin: 0 0 16px; padding: 16px 18px 10px; background: var(--card); border: 1px solid var(--rule); border-radius: 10px; }
article p { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; }
.request { font-weight: 600; } .input { margin-top: 6px !important; color: var(--soft); }
.answers { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 14px; margin: 14px 0 8px; }
.answer { padding-left: 12px; border-left: 3px solid var(--rule); font-size: 15px; } .answer.after { border-color: var(--accent); }
.answer h3 { margin: 0 0 2px; color: var(--soft); font-size: 12px; font-weight: 600; }
.lines label { display: none; }
@media screen { @supports (container-type: size) and selector(:has(*)) {
  .fold { position: relative; max-height: calc(9 * 1.55em); overflow: hidden; }
  .fold:has(:checked) { max-height: none; padding-bottom: 1.55em; }
  .lines { position: absolute; inset: 0; container-type: size; pointer-events: none; }
  @container (min-height: calc(8.5 * 1.55em)) { .lines label { display: block; position: absolute; inset: auto 0 0; height: 1.55em; background: var(--card); color: var(--accent); font-weight: 600; cursor: pointer; pointer-events: auto; } }
  .lines input { position: absolute; opacity: 0; }
  .lines :focus-visible ~ span { outline: 2px solid; outline-offset: -2px; border-radius: 4px; }
  .lines .less, .lines :checked ~ .more { display: none; } .lines :checked ~ .less { display: inline; }
} }
table { width: 100%; border-collapse: collapse; } th, td { padding: 7px 0; border-bottom: 1px solid var(--rule); text-align: left; vertical-align: top; overflow-wrap: anywhere; }
th { width: 34%; padding-right: 16px; color: var(--soft); font-weight: 400; }
.note { margin: 10px 0 0; color: var(--soft); font-size: 13px; }
@media print { body { background: none; font-size: 12px; } main { max-width: none; padding: 0; } details::details-content { content-visibility: visible; block-size: auto; } .tools { min-height: 0; } .tools button, .readout, .cursor, .selection { display: none; } .wide { overflow: visible; } .wide table { font-size: 10px; } .wide .note { min-width: 0; font-size: 9px; } .wide th, .wide td { padding-right: 8px; } .intervals { min-width: 90px; } section, article { break-inside: auto; } article, tr { break-inside: avoid; } h2 { break-after: avoid; } }
`;
