import assert from "node:assert/strict";

/** An element of a page. */
export interface ParsedElement {
  readonly name: string;
  readonly attributes: ReadonlyMap<string, string>;
  /** what it holds, as it is written */
  text: string;
}

const VOID = ["meta", "input", "br"];

/** The elements of a page, in the order in which they begin. Fails if one is not closed in its turn, or an attribute is not quoted. */
export function parseMarkup(page: string): ParsedElement[] {
  const found: ParsedElement[] = [];
  const open: { readonly element: ParsedElement; readonly from: number }[] = [];
  const pattern = /<(!doctype html|\/?[a-z][\w-]*)((?:\s+[\w:-]+(?:="[^"<>]*")?)*)\s*>/gi;
  for (let at = 0; ;) {
    pattern.lastIndex = at;
    const match = pattern.exec(page);
    const between = page.slice(at, match?.index);
    assert.doesNotMatch(between, /[<>]/, `markup that is none: ${between.slice(0, 200)}`);
    if (match === null) break;
    at = pattern.lastIndex;
    const [, name, rest] = match as unknown as [string, string, string];
    if (name.startsWith("!")) continue;
    if (name.startsWith("/")) {
      const last = open.pop()!;
      assert.equal(last.element.name, name.slice(1));
      last.element.text = page.slice(last.from, match.index);
      continue;
    }
    const attributes = new Map([...rest.matchAll(/([\w:-]+)(?:="([^"]*)")?/g)].map(([, key, value]) => [key!, value ?? ""]));
    const element: ParsedElement = { name, attributes, text: "" };
    found.push(element);
    if (VOID.includes(name)) continue;
    open.push({ element, from: at });
    // what stands in these is no markup
    if (name === "script" || name === "style") at = page.indexOf(`</${name}>`, at);
    if (name === "script" || name === "style") {
      element.text = page.slice(open.pop()!.from, at);
      at += `</${name}>`.length;
    }
  }
  assert.deepEqual(open, []);
  return found;
}
