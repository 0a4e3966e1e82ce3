/** Text as the content of an element, or as an attribute's value in double quotes. */
export function escapeMarkup(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}

/** An element with its attributes; a child is markup already. */
export function element(name: string, attributes: Readonly<Record<string, string | number>>, ...children: readonly string[]): string {
  const words = Object.entries(attributes).map(([key, value]) => ` ${key}="${escapeMarkup(String(value))}"`);
  return `<${name}${words.join("")}>${children.join("")}</${name}>`;
}

/** A share of the whole as SVG's attributes take it: "12.34%". */
export function percentText(share: number): string {
  return `${Number((share * 100).toFixed(2))}%`;
}
