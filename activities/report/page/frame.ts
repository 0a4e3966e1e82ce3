import { createHash } from "node:crypto";
import { escapeMarkup } from "../../../infra/plots/markup.js";
import { SCRIPT } from "./browser.js";
import { STYLE } from "./style.js";

/** A whole page: one file that loads nothing, and whose only script is ours. */
export function pageFrame({
  title,
  kicker,
  body,
}: {
  readonly title: string;
  readonly kicker: string;
  readonly body: readonly string[];
}): string {
  // a browser runs and applies only what has these digests, whatever text a run brings along
  const style = STYLE + widths(body);
  const policy = [
    "default-src 'none'",
    `style-src '${digestOf(style)}'`,
    `script-src '${digestOf(SCRIPT)}'`,
    "base-uri 'none'",
    "form-action 'none'",
  ].join("; ");
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escapeMarkup(title)}</title>
<style>${style}</style>
</head>
<body>
<main>
<header>
<p class="kicker">${escapeMarkup(kicker)}</p>
<h1>${escapeMarkup(title)}</h1>
${body.filter((part) => part !== "").join("\n")}
</main>
<script>${SCRIPT}</script>
</body>
</html>
`;
}

/** As a policy names a text that it allows. */
function digestOf(text: string): string {
  return `sha256-${createHash("sha256").update(text).digest("base64")}`;
}

/** The rules of the tiles' widths: attributes of style are not allowed. */
function widths(body: readonly string[]): string {
  const found = body.flatMap((part) => [...part.matchAll(/<section class="figures longest-(\d+)"/g)].map(([, length]) => length!));
  return [...new Set(found)].map((length) => `.longest-${length} { --longest: ${length}; }\n`).join("");
}
