/** The style of the report page: light and dark, screen and print, from 320 px upwards. */
export const STYLE: string = `
:root { color-scheme: light dark; --paper: #fbfaf7; --card: #fff; --ink: #22252b; --soft: #6b7079; --rule: #e4e1d8; --accent: #2f6f5e; --dot: #9fc3b8; --bad: #a8432f; }
@media (prefers-color-scheme: dark) { :root { --paper: #16181b; --card: #1e2125; --ink: #e6e4de; --soft: #9aa0a8; --rule: #31353b; --accent: #6fc2a8; --dot: #3f6f62; --bad: #e08a76; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 780px; margin: 0 auto; padding: 40px 20px 64px; }
h1 { margin: 0 0 12px; font-size: 30px; line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin: 44px 0 14px; font-size: 20px; }
.kicker { margin: 0 0 6px; color: var(--soft); font-size: 14px; }
.gate { display: inline-block; margin: 0; padding: 3px 12px; border-radius: 99px; border: 1px solid; font-size: 14px; }
.gate.open { color: var(--accent); } .gate.shut { color: var(--bad); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, max(128px, var(--longest) * 1ch + 34px)), 1fr)); gap: 12px; margin-top: 28px; font-size: 24px; font-weight: 700; font-variant-numeric: tabular-nums; }
.figure { padding: 14px 16px; background: var(--card); border: 1px solid var(--rule); border-radius: 10px; }
.figure b { display: block; overflow-wrap: anywhere; }
.figure span { display: block; color: var(--soft); font-size: 13px; font-weight: 400; }
svg { width: 100%; height: auto; background: var(--card); border: 1px solid var(--rule); border-radius: 10px; }
.grid { stroke: var(--rule); } .tick { fill: var(--soft); font: 12px system-ui, sans-serif; }
.dot { fill: var(--dot); } .line { fill: none; stroke: var(--accent); stroke-width: 2.2; stroke-linejoin: round; }
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
`;
