import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { compileTemplate } from "../../../infra/text/jinja.js";

const write = (template: string, variables: object = {}): string =>
  compileTemplate(template, "a template").render(variables as Record<string, unknown>);

interface Written {
  readonly messages: readonly object[];
  /** text: null where Jinja itself refuses the template; says: what is refused here instead of written otherwise */
  readonly cases: readonly { readonly template: string; readonly text: string | null; readonly says?: string }[];
}

const reference = JSON.parse(readFileSync(new URL("../../../../test/reference/jinja.json", import.meta.url), "utf8")) as Written;

for (const { template, text, says } of reference.cases)
  test(`as Python's Jinja, or refused: ${template}`, () => {
    const variables = { messages: reference.messages };
    if (says === undefined) assert.equal(write(template, variables), text);
    else assert.throws(() => write(template, variables), { message: new RegExp(says.replaceAll(".", "\\.")) });
  });

test("blocks and lines are set up as transformers does", () => {
  assert.equal(write("  {% if true %}\n  a\n  {% endif %}\nb\n"), "  a\nb");
  assert.equal(write("a\r\n{% if x %}\r\nb{% endif %}", { x: true }), "a\nb");
  assert.equal(write("{% for m in ms %}{% generation %}{{ m }}{% endgeneration %}{% endfor %}", { ms: ["a", "b"] }), "ab");
  assert.equal(write("{% for i in range(1, 3) %}{{ i }}{% endfor %}{% for i in range(2) %}{{ i }}{% endfor %}"), "1201");
  assert.equal(write("{{ missing }}|{{ none is none }}"), "|True");
});

test("a template's own exception is its message", () => {
  assert.throws(() => write("{{ raise_exception('roles must alternate') }}"), { message: "roles must alternate" });
});

test("a template without a right form is refused with the line of the fault", () => {
  for (const [template, message] of [
    ["a\n{% if x %}\nb", /\{% if %\} has no \{% endif %\}.*line=2/],
    ["a\n\n{{ x", /opens with \{\{ has no end.*line=3/],
    ["a\n{% endfor %}", /\{% endfor %\} closes no block.*line=2/],
    ["{% for m in x %}\n{% if m %}\n{% endfor %}", /\{% endfor %\} closes no block.*line=3/],
    ["{{ a }}\n{{ a b }}", /line=2, text=\{\{ a b \}\}/],
    ["x\n{% foo %}", /Unknown statement type: foo.*line=2/],
    ["{% if a %}\n{% elif b ] %}\n{% endif %}", /line=2/],
    ["x{# c", /opens with \{# has no end.*line=1/],
  ] as const)
    assert.throws(() => compileTemplate(template, "a template"), { name: "UserError", message }, template);
  for (const right of [
    "{% set x = 1 %}{{ x }}",
    "{% set x %}a{% endset %}{{ x }}",
    "{%- if a -%}{%- else -%}{%- endif -%}",
    "{# if #}{{ '}' }}",
  ])
    assert.doesNotThrow(() => compileTemplate(right, "a template"), right);
});

test("the names that a template reads are known, without those that it sets", () => {
  const { names } = compileTemplate(
    "{% set a = given %}{% for k, v in pairs.items() %}{{ k ~ v ~ loop.index }}{% endfor %}{% macro f(x) %}{{ x }}{% endmacro %}" +
      "{{ f(asked) | replace(old, 'b') }}{{ a.b }}{{ m[key] }}{% if y is defined %}{% endif %}{% set ns = namespace(n=0) %}{{ ns.n }}",
    "a template",
  );
  assert.deepEqual([...names].sort(), ["asked", "given", "key", "m", "old", "pairs", "y"]);
});

test("there is no clock: a date without a default is refused", () => {
  assert.throws(() => compileTemplate("{{ strftime_now('%d') }}", "a template"), { name: "UserError", message: /today's date/ });
  assert.equal(write("{% if strftime_now is defined %}{{ strftime_now('%d') }}{% else %}26{% endif %}"), "26");
});
