import { Environment, Interpreter } from "@huggingface/jinja";
import {
  capitalized,
  equal,
  isJson,
  isList,
  isNumber,
  isObject,
  isText,
  isTrue,
  make,
  printed,
  strip,
  words,
  type Value,
} from "./python-values.js";

/**
 * Runs parsed templates as Python's Jinja does where the library does otherwise without a word. A difference that has no use
 * in templates of texts is an error, so that no text is written in another way than transformers writes it.
 */

interface Scope {
  readonly variables: ReadonlyMap<string, Value>;
  setVariable(name: string, value: Value): Value;
  set(name: string, value: unknown): Value;
  lookupVariable(name: string): Value;
}

/** A part of a parsed template. */
export interface Node {
  readonly type: string;
  readonly [field: string]: unknown;
}

const STATEMENTS: readonly string[] = [
  "Set",
  "If",
  "For",
  "Macro",
  "CallStatement",
  "FilterStatement",
  "Break",
  "Continue",
  "Comment",
  "Program",
];

/** Ends an iteration, and with `isLast` the loop, with the text that it has written so far. */
class IterationEnd extends Error {
  text = "";
  readonly isLast: boolean;
  constructor(isLast: boolean) {
    super("a loop ends outside of a loop");
    this.isLast = isLast;
  }
}

const within = (scope: Scope): Scope => new Environment(scope);
const held = (value: Value): Node => ({ type: "Held", value });

/** The attributes of `loop` that the library knows. */
const LOOP = ["index", "index0", "revindex", "revindex0", "first", "last", "length", "previtem", "nextitem"];

/** Runs a program that `outputsOf` has looked through. */
export class PythonInterpreter extends Interpreter {
  private readonly outputs: ReadonlySet<unknown>;

  constructor(environment: unknown, outputs: ReadonlySet<unknown>) {
    super(environment);
    this.outputs = outputs;
  }

  /** The value of a node; for an expression that is written, its text. The library calls it for each node. */
  evaluate(statement: unknown, environment: unknown): Value {
    const node = statement as Node | undefined;
    const value = this.result(node, environment as Scope) ?? make(undefined);
    return this.outputs.has(node) ? make(printed(value)) : value;
  }

  private base(node: unknown, scope: Scope): Value {
    return super.evaluate(node, scope) as Value;
  }

  private of(node: unknown, scope: Scope): Value {
    return this.evaluate(node, scope);
  }

  private result(node: Node | undefined, scope: Scope): Value {
    switch (node?.type) {
      case "Held":
        return node["value"] as Value;
      case "Program":
        return this.block(node["body"], scope);
      case "If":
        return this.block(isTrue(this.of(node["test"], scope)) ? node["body"] : node["alternate"], scope);
      case "For":
        return this.loop(node, scope);
      case "Break":
      case "Continue":
        throw new IterationEnd(node.type === "Break");
      case "Macro":
        return this.macro(node, scope);
      case "BinaryExpression":
        return this.binary(node, scope);
      case "MemberExpression":
        return this.member(node, scope);
      case "CallExpression":
        return this.call(node, scope);
      case "FilterExpression":
        return this.filter(node, scope);
      case "TestExpression":
        return this.test(node, scope);
      default:
        return this.base(node, scope);
    }
  }

  private block(body: unknown, scope: Scope): Value {
    let text = "";
    for (const node of body as readonly Node[])
      try {
        const value = this.of(node, scope);
        if (isText(value)) text += value.value;
      } catch (error) {
        // what an iteration has written before it ends stays written
        if (error instanceof IterationEnd) error.text = text + error.text;
        throw error;
      }
    return make(text);
  }

  /** Each iteration has variables of its own: what one sets, the next does not see. */
  private loop({ iterable: source, loopvar, body, defaultBlock }: Node, scope: Scope): Value {
    const select = (source as Node).type === "SelectExpression" ? (source as Node) : null;
    const whole = this.of(select?.["lhs"] ?? source, scope);
    const all = isList(whole) ? whole.value : isObject(whole) ? [...whole.value.keys()].map(make) : [];
    if (all.length === 0 && !isList(whole) && !isObject(whole) && whole.type !== "UndefinedValue")
      throw new Error(`a loop goes over a value that is not a list: ${whole.type}`);
    const opened = (item: Value): Scope => {
      const inner = within(scope);
      bind(loopvar as Node, item, inner);
      return inner;
    };
    const items = select === null ? all : all.filter((item) => isTrue(this.of(select["test"], opened(item))));
    let text = "";
    let isComplete = false;
    for (const [index, item] of items.entries()) {
      const inner = opened(item);
      const { length } = items;
      const counts = { index: index + 1, index0: index, revindex: length - index, revindex0: length - index - 1, length };
      const loop = make({ ...counts, first: index === 0, last: index === length - 1 });
      const neighbours = loop.value as Map<string, Value>;
      if (index > 0) neighbours.set("previtem", items[index - 1]!);
      if (index + 1 < length) neighbours.set("nextitem", items[index + 1]!);
      inner.setVariable("loop", loop);
      try {
        text += this.block(body, inner).value as string;
        isComplete = true;
      } catch (error) {
        if (!(error instanceof IterationEnd)) throw error;
        text += error.text;
        if (error.isLast) break;
      }
    }
    // the other block follows unless an iteration came to its end
    return isComplete ? make(text) : make(text + (this.block(defaultBlock, within(scope)).value as string));
  }

  /** A macro sees the variables of the place where it stands, not of the place where it is called. */
  private macro(node: Node, scope: Scope): Value {
    const none = this.base(node, scope);
    const macro = scope.lookupVariable((node["name"] as Node)["value"] as string) as { value: unknown };
    const run = macro.value as (args: unknown, scope: unknown) => Value;
    macro.value = (args: unknown, caller: Scope) => {
      const inner = within(scope);
      const called = caller.variables.get("caller");
      if (called !== undefined) inner.setVariable("caller", called);
      return run(args, inner);
    };
    return none;
  }

  private binary(node: Node, scope: Scope): Value {
    const operator = (node["operator"] as { readonly value: string }).value;
    const left = this.of(node["left"], scope);
    if (operator === "and" || operator === "or") return isTrue(left) === (operator === "and") ? this.of(node["right"], scope) : left;
    const right = this.of(node["right"], scope);
    if (operator === "==") return make(equal(left, right));
    if (operator === "!=") return make(!equal(left, right));
    if (operator === "~") return make(printed(left) + printed(right));
    if (isList(right) && (operator === "in" || operator === "not in"))
      return make(right.value.some((item) => equal(left, item)) === (operator === "in"));
    if (operator === "+" && isText(left) !== isText(right)) throw new Error("a text and another value cannot be added: use ~");
    if (["/", "//", "%"].includes(operator) && isNumber(left) && isNumber(right)) {
      const [a, b] = [left.value as number, right.value as number];
      if (b === 0) throw new Error("division by zero");
      // the remainder has the sign of the divisor
      if (operator === "%")
        return this.base({ ...node, left: held(a % b !== 0 && a < 0 !== b < 0 ? make((a % b) + b) : left), right: held(right) }, scope);
    }
    return this.base({ ...node, left: held(left), right: held(right) }, scope);
  }

  private member(node: Node, scope: Scope): Value {
    const object = this.of(node["object"], scope);
    const key = node["property"] as Node;
    if (object.type === "UndefinedValue") throw new Error(`a part of ${nameOf(node["object"] as Node)} is read, and it is undefined`);
    const name = node["computed"] === true && key.type !== "SliceExpression" ? this.of(key, scope) : null;
    const field = name === null ? key["value"] : name.value;
    if ((node["object"] as Node)["value"] === "loop" && typeof field === "string" && !LOOP.includes(field))
      throw new Error(`loop.${field} is not known`);
    // texts and lists have no such attribute
    if (field === "length" && (isText(object) || isList(object))) return make(undefined);
    if (isText(object) && typeof field === "number") return make([...object.value].at(field));
    return this.base({ ...node, object: held(object), ...(name !== null && { property: held(name) }) }, scope);
  }

  private call(node: Node, scope: Scope): Value {
    const callee = node["callee"] as Node;
    if (callee.type !== "MemberExpression") return this.base(node, scope);
    const object = this.of(callee["object"], scope);
    const method = (callee["property"] as Node)["value"];
    const rest = (): Value => this.base({ ...node, callee: { ...callee, object: held(object) } }, scope);
    if (!isText(object)) return rest();
    const args = (node["args"] as readonly Node[]).map((arg) =>
      ["KeywordArgumentExpression", "SpreadExpression", "KeywordSpreadExpression"].includes(arg.type) ? null : this.of(arg, scope),
    );
    const [first, second] = args;
    switch (method) {
      case "strip":
      case "lstrip":
      case "rstrip":
        return make(strip(object.value, method, args));
      case "split":
        if (first !== undefined && first?.type !== "NullValue") return rest();
        return make(words(object.value, second === undefined ? -1 : (second?.value as number)));
      case "capitalize":
      case "title":
        return make(capitalized(object.value, method));
      case "startswith":
      case "endswith":
        if (args.length !== 1) throw new Error(`${method} takes one text`);
        return rest();
      case "upper":
      case "lower":
      case "replace":
        return rest();
      default:
        throw new Error(`the method ${String(method)} of a text is not carried out here`);
    }
  }

  private filter(node: Node, scope: Scope): Value {
    const filter = node["filter"] as Node;
    const isCall = filter.type === "CallExpression";
    const name = (isCall ? (filter["callee"] as Node)["value"] : filter["value"]) as string;
    const args = isCall ? (filter["args"] as readonly Node[]) : [];
    const named = args.filter(({ type }) => type === "KeywordArgumentExpression").map(({ key }) => (key as Node)["value"] as string);
    const operand = this.of(node["operand"], scope);
    const refuse = (): never => {
      throw new Error(`the filter ${name} with what it is given here is not carried out as in Python`);
    };
    switch (name) {
      case "string":
        return make(printed(operand));
      case "trim":
        if (!isText(operand) || named.length > 0) return refuse();
        return make(
          strip(
            operand.value,
            "strip",
            args.map((arg) => this.of(arg, scope)),
          ),
        );
      case "length":
        if (isText(operand)) return make([...operand.value].length);
        break;
      case "capitalize":
      case "title":
        return isText(operand) ? make(capitalized(operand.value, name)) : refuse();
      case "int":
      case "float":
        if (isText(operand) && /^\s*[-+]?[\d.]/.test(operand.value) && !/^[-+]?\d+$/.test(operand.value)) return refuse();
        if (operand.type === "FloatValue" && (operand.value as number) < 0) return refuse();
        break;
      case "safe":
      case "unique":
        return refuse();
      case "join":
        if (named.length > 0 || (isList(operand) && !operand.value.every((item) => isText(item) || item.type === "IntegerValue")))
          return refuse();
        break;
      case "default":
        if (named.some((key) => key !== "boolean")) return refuse();
        break;
      case "selectattr":
      case "rejectattr":
        if ((args[1]?.["value"] as string | undefined) === "undefined") return refuse();
        break;
      case "tojson":
        if (args.length > named.length || named.includes("sort_keys") || !isJson(operand)) return refuse();
        break;
      case "indent":
        if (isText(operand) && /[\r\v\f\x1c-\x1e\x85\u2028\u2029]/.test(operand.value)) return refuse();
        break;
    }
    return this.base({ ...node, operand: held(operand) }, scope);
  }

  private test(node: Node, scope: Scope): Value {
    const operand = this.of(node["operand"], scope);
    const answer = (yes: boolean): Value => make(yes !== node["negate"]);
    const { type } = operand;
    switch ((node["test"] as Node)["value"]) {
      case "number":
        return answer(isNumber(operand) || type === "BooleanValue");
      case "iterable":
      case "sequence":
        return answer(isList(operand) || isText(operand) || isObject(operand) || type === "UndefinedValue");
      case "lower":
      case "upper": {
        const text = printed(operand);
        const [same, other] = [text.toLowerCase(), text.toUpperCase()];
        return answer(same !== other && text === ((node["test"] as Node)["value"] === "lower" ? same : other));
      }
      default:
        return this.base({ ...node, operand: held(operand) }, scope);
    }
  }
}

/** The expressions of a program whose values are written. */
export function outputsOf(program: unknown): ReadonlySet<unknown> {
  const outputs = new Set<unknown>();
  const visit = (value: unknown): void => {
    if (typeof value !== "object" || value === null) return;
    if (value instanceof Map) return [...(value as Map<unknown, unknown>)].forEach(visit);
    if (Array.isArray(value)) return value.forEach(visit);
    const { type, ...fields } = value as Node;
    for (const [field, inner] of Object.entries(fields)) {
      if (STATEMENTS.includes(type) && ["body", "alternate", "defaultBlock"].includes(field) && Array.isArray(inner))
        for (const node of inner as readonly Node[]) if (!STATEMENTS.includes(node.type)) outputs.add(node);
      visit(inner);
    }
  };
  visit(program);
  return outputs;
}

function bind({ type, value }: Node, item: Value, scope: Scope): void {
  if (type === "Identifier") return void scope.setVariable(value as string, item);
  const names = value as readonly Node[];
  if (type !== "TupleLiteral" || !isList(item) || item.value.length !== names.length)
    throw new Error("a loop's variables are not as many as its items' parts");
  for (const [at, name] of names.entries()) bind(name, item.value[at]!, scope);
}

function nameOf(node: Node): string {
  if (node.type === "Identifier") return node["value"] as string;
  return node.type === "MemberExpression" ? `${nameOf(node["object"] as Node)}.${String((node["property"] as Node)["value"])}` : "a value";
}
