/** What leaves a worker as words: without secrets, and short enough to arrive. Temporal takes 2 MB a message, and keeps all of them. */

/** Variables that hold secrets, by their names. */
const SECRET_NAME = /TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|PRIVATE_KEY|PAYLOAD_KEY|CREDENTIAL/i;
/** Variables whose names look so, and that hold places or settings. */
const NO_SECRET = /_(PATH|FILE|DIR|URL|URI)$|^TOKENIZERS_/i;
/** A value that is shorter is a word that may stand anywhere. */
const SHORTEST_SECRET = 8;

/** Forms of secrets, whatever their values: what stays, and what is replaced. */
const FORMS: readonly (readonly [form: RegExp, instead: string])[] = [
  // the user and password of an address, such as that of a proxy
  [/(\b[a-z][a-z0-9+.-]*:\/\/)[^\s/@"'<>]+@/gi, "$1***@"],
  // headers, in the forms of HTTP, JSON and JavaScript objects
  [/(\b(?:proxy-)?authorization\b["']?\s*[:=]\s*\[?\s*["']?)[^"'\r\n\]}]+/gi, "$1***"],
  [/(\b(?:x-amz-security-token|x-api-key|cookie|set-cookie)\b["']?\s*[:=]\s*["']?)[^"'\r\n&\s]+/gi, "$1***"],
  [/\b(Bearer\s+)[\w.~+/=-]{8,}/gi, "$1***"],
  // signed addresses of Amazon, Google and Azure
  [/\b((?:X-Amz-(?:Signature|Credential|Security-Token)|X-Goog-(?:Signature|Credential)|Signature|sig)=)[^&\s"'<>]+/gi, "$1***"],
  [/\bhf_[A-Za-z0-9]{16,}/g, "hf_***"],
];

/** Replaces secrets in a text. */
export type Scrub = (text: string) => string;

/** Replaces the values of variables that hold secrets, the `more` secrets, and whatever has the form of one. */
export function scrubber(variables: Readonly<Record<string, string | undefined>>, more: readonly (string | null)[] = []): Scrub {
  const named = Object.entries(variables).flatMap(([name, value]) => (SECRET_NAME.test(name) && !NO_SECRET.test(name) ? [value] : []));
  const values = [...named, ...more].filter((value): value is string => value != null && value.length >= SHORTEST_SECRET);
  const forms = [...new Set(values.flatMap((value) => [value, encodeURIComponent(value)]))].sort((a, b) => b.length - a.length);
  return (text) => {
    let clean = text;
    for (const secret of forms) clean = clean.replaceAll(secret, "***");
    for (const [form, instead] of FORMS) clean = clean.replace(form, instead);
    return clean;
  };
}

/** A text of `most` characters at most: a longer one loses its middle, because the start says what failed and the end what to do. */
export function shortened(text: string, most: number): string {
  if (text.length <= most) return text;
  const note = ` … ${text.length - most} characters left out … `;
  const half = Math.max(0, Math.floor((most - note.length) / 2));
  return `${text.slice(0, half)}${note}${text.slice(text.length - half)}`;
}

/** A JSON value with every text scrubbed and shortened; where the whole is longer than `most` characters, its text takes its place. */
export function cleaned(value: unknown, scrub: Scrub, most: number): unknown {
  const clean = cleanedParts(value, scrub, most);
  const text = JSON.stringify(clean) ?? "";
  return text.length <= most ? clean : shortened(text, most);
}

function cleanedParts(value: unknown, scrub: Scrub, most: number): unknown {
  if (typeof value === "string") return shortened(scrub(value), most);
  if (Array.isArray(value)) return value.map((entry) => cleanedParts(entry, scrub, most));
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  return Object.fromEntries(Object.entries(value).map(([name, entry]) => [name, cleanedParts(entry, scrub, most)]));
}
