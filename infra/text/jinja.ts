import { Environment, parse, tokenize } from "@huggingface/jinja";
import { UserError } from "../../core/errors.js";
import type { Template } from "../../core/text/prompt-kind.js";
import { outputsOf, PythonInterpreter, type Node } from "./python-jinja.js";

/** As transformers sets Jinja up. */
const OPTIONS = { lstrip_blocks: true, trim_blocks: true };

/** A parsed template: the library's own type does not resolve. */
interface Program {
  readonly body: readonly unknown[];
}

/**
 * Compiles a Jinja template with transformers' settings and names, except that there is no clock (`strftime_now`), because a
 * run gives the same bytes on any day. Throws UserError with the line of an error. `where`: what the template is.
 */
export function compileTemplate(text: string, where: string): Template {
  // Jinja reads every line's end as a line feed, and the library none
  const source = text.replace(/\r\n?/g, "\n");
  const program = parsed(source);
  if ("problem" in program) {
    const { line, problem } = findProblem(source) ?? { line: null, problem: program.problem };
    const place = line === null ? {} : { line, text: source.split("\n")[line - 1]!.trim().slice(0, 80) };
    throw new UserError(`${where} is not a Jinja template: ${problem}`, place);
  }
  const strange = unlikePython(source);
  if (strange !== null) throw new UserError(`${where} is read in another way here than by transformers: ${strange}`);
  const names = freeNames(program);
  if (names.has("strftime_now") && !/strftime_now\s+is\s+(not\s+)?(un)?defined/.test(source))
    throw new UserError(
      `${where} writes today's date, and a run must give the same bytes on any day: set preprocess.prompt to a template without strftime_now`,
    );
  const outputs = outputsOf(program);
  return { names, render: (variables) => render(program, outputs, variables) };
}

function render(program: Program, outputs: ReadonlySet<unknown>, variables: Readonly<Record<string, unknown>>): string {
  const environment = new Environment();
  const globals = {
    ...{ true: true, True: true, false: false, False: false, none: null, None: null },
    range: (start: number, stop?: number, step = 1): number[] => {
      const [first, last] = stop === undefined ? [0, start] : [start, stop];
      return Array.from({ length: Math.max(0, Math.ceil((last - first) / step)) }, (_, index) => first + index * step);
    },
    raise_exception: (message: string): never => {
      throw new Error(message);
    },
  };
  for (const [name, value] of Object.entries({ ...globals, ...variables })) environment.set(name, value);
  return new PythonInterpreter(environment, outputs).evaluate(program, environment).value as string;
}

/** The parsed template, or why it cannot be parsed. */
function parsed(source: string): Program | { readonly problem: string } {
  try {
    return parse(tokenize(source, OPTIONS)) as Program;
  } catch (error) {
    // a block without its end makes the parser read beyond the last token
    if (error instanceof TypeError) return { problem: "a block or an expression has no end" };
    return { problem: error instanceof Error ? error.message : String(error) };
  }
}

/** What the library reads in another way than Jinja does, without an error; null: nothing. */
function unlikePython(source: string): string | null {
  if (/^[ \t]+\{-/m.test(source) || /-\}\n/.test(source)) return "it has {- or -} outside of a tag, at an end of a line";
  // whether a comparison stands before, in each bracket that is open
  let compared = [false];
  for (const { type, value } of tokenize(source, OPTIONS) as readonly { readonly type: string; readonly value: string }[]) {
    const compares = type === "ComparisonBinaryOperator" || (type === "Identifier" && value === "in");
    if (compares && compared[0] === true) return "it compares more than two values at once";
    if (compares) compared[0] = true;
    else if (type.startsWith("Open")) compared = [false, ...compared];
    else if (type.startsWith("Close")) compared = compared.length > 1 ? compared.slice(1) : [false];
    else if (["Comma", "Colon", "Equals"].includes(type) || (type === "Identifier" && ["and", "or", "if", "else", "for"].includes(value)))
      compared[0] = false;
  }
  return null;
}

/** What closes each block. */
const ENDS: Readonly<Record<string, string>> = {
  if: "endif",
  for: "endfor",
  macro: "endmacro",
  call: "endcall",
  filter: "endfilter",
  generation: "endgeneration",
};

/** The first tag that is wrong by itself, or that opens a block without an end; null: all are right. The library's errors name no line. */
function findProblem(source: string): { readonly line: number; readonly problem: string } | null {
  const open: { readonly name: string; readonly line: number }[] = [];
  const lineAt = (index: number): number => source.slice(0, index).split("\n").length;
  const opener = /\{([{%#])/g;
  for (let match = opener.exec(source); match !== null; match = opener.exec(source)) {
    const line = lineAt(match.index);
    const kind = match[1]!;
    const close = source.indexOf(kind === "{" ? "}}" : `${kind}}`, match.index + 2);
    if (close < 0) return { line, problem: `a tag that opens with {${kind} has no end` };
    opener.lastIndex = close + 2;
    const body = source
      .slice(match.index + 2, close)
      .replace(/^[-+]|[-+]$/g, "")
      .trim();
    if (kind === "#") continue;
    const problem = kind === "{" ? problemOf(`{{ ${body} }}`) : statementProblem(body, open, line);
    if (problem !== null) return { line, problem };
  }
  const last = open.at(-1);
  return last === undefined ? null : { line: last.line, problem: `{% ${last.name} %} has no {% ${ENDS[last.name]} %}` };
}

/** What is wrong with a statement, given the blocks that are open before it; they are changed as the statement does. */
function statementProblem(body: string, open: { readonly name: string; readonly line: number }[], line: number): string | null {
  const [name = ""] = /^\w*/.exec(body)!;
  if (Object.values(ENDS).includes(name)) {
    const last = open.pop();
    return last !== undefined && ENDS[last.name] === name ? null : `{% ${name} %} closes no block`;
  }
  if (name === "else" || name === "elif") {
    if (open.length === 0) return `{% ${name} %} stands in no block`;
    return name === "elif" ? problemOf(`{% if ${body.slice(4)} %}{% endif %}`) : null;
  }
  if (name in ENDS) {
    open.push({ name, line });
    return name === "generation" ? null : problemOf(`{% ${body} %}{% ${ENDS[name]} %}`);
  }
  // a set without a value goes on to its endset; break and continue are right in a loop alone
  const isPart = (name === "set" && !body.includes("=")) || ["endset", "break", "continue"].includes(name);
  return isPart ? null : problemOf(`{% ${body} %}`);
}

function problemOf(tag: string): string | null {
  const result = parsed(tag);
  return "problem" in result ? result.problem : null;
}

/** Variables that templates have without being given them. */
const KNOWN = new Set(["true", "True", "false", "False", "none", "None", "range", "raise_exception", "namespace", "loop"]);

/** The variables that a template reads and does not set anywhere itself. */
function freeNames(program: Program): Set<string> {
  const read = new Set<string>();
  const set = new Set<string>(KNOWN);
  const bind = (node: unknown): void => {
    const { type, value } = node as Node;
    if (type === "Identifier") set.add(value as string);
    else if (Array.isArray(value)) value.forEach(bind);
    else if (type === "KeywordArgumentExpression") bind((node as Node)["key"]);
  };
  const visit = (node: unknown): void => {
    if (Array.isArray(node)) node.forEach(visit);
    if (typeof node !== "object" || node === null || Array.isArray(node)) return;
    if (node instanceof Map) return [...(node as Map<unknown, unknown>)].forEach(visit);
    const { type, ...fields } = node as Node;
    if (type === "Identifier") return void read.add(fields["value"] as string);
    if (type === "For") bind(fields["loopvar"]);
    if (type === "Set") bind(fields["assignee"]);
    if (type === "Macro") {
      bind(fields["name"]);
      (fields["args"] as unknown[]).forEach(bind);
    }
    for (const [field, value] of Object.entries(fields)) {
      const isName =
        (type === "MemberExpression" && field === "property" && fields["computed"] !== true) ||
        (type === "TestExpression" && field === "test") ||
        (type === "KeywordArgumentExpression" && field === "key");
      // a filter is a name, or a call of one with arguments that are read
      if (field === "filter") visit((value as Node)["args"]);
      else if (!isName) visit(value);
    }
  };
  visit(program.body);
  return new Set([...read].filter((name) => !set.has(name)));
}
