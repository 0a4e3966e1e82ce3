/** The names that a template of a row may use. */
export const TEMPLATE_NAMES = ["instruction", "input", "output", "system", "history", "messages", "bos_token", "eos_token"] as const;

/** What is wrong with a Jinja template, as far as its text shows; null: nothing. */
export function templateProblem(text: string): string | null {
  const tags = [...text.matchAll(/\{\{[^]*?\}\}|\{%[^]*?%\}/g)].map(([tag]) => tag).join("\n");
  if (/\b(output|messages)\b/.test(tags)) return null;
  const single = TEMPLATE_NAMES.filter((name) => new RegExp(`(?<!\\{)\\{\\s*${name}\\s*\\}(?!\\})`).test(text));
  if (single.length > 0)
    return `is a Jinja template, whose names stand in two braces: write ${single.map((name) => `{{ ${name} }} instead of {${name}}`).join(", ")}`;
  return "must write {{ output }}, because that is what is learned, or go through messages";
}
