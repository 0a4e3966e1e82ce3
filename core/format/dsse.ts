import { z } from "zod";
import { CorruptError } from "../errors.js";

/** Signed in-toto statements: the statement's text in a DSSE envelope (secure-systems-lab/dsse 1.0). */

/** What the signed statements are, as an envelope says it. */
const PAYLOAD_TYPE = "application/vnd.in-toto+json";
/** The type of every in-toto statement. */
export const STATEMENT = "https://in-toto.io/Statement/v1";

/** Schema of an envelope. */
export const envelopeSchema = z.object({
  payload: z.base64(),
  payloadType: z.literal(PAYLOAD_TYPE),
  signatures: z.array(z.object({ sig: z.base64(), keyid: z.string().optional() })).min(1),
});

/** An envelope with its bytes. */
export interface Envelope {
  /** the statement's text */
  readonly payload: string;
  /** DER, one or more */
  readonly signatures: readonly Uint8Array[];
  /** SHA-256 of the public key's PEM; "" if the envelope does not say it */
  readonly keyId: string;
}

/** The bytes that are signed in place of a statement's text: DSSE's pre-authentication encoding. */
export function signedBytes(payload: string): Uint8Array {
  const utf8 = new TextEncoder();
  const body = utf8.encode(payload);
  const head = utf8.encode(`DSSEv1 ${PAYLOAD_TYPE.length} ${PAYLOAD_TYPE} ${body.length} `);
  const all = new Uint8Array(head.length + body.length);
  all.set(head);
  all.set(body, head.length);
  return all;
}

/** An envelope as JSON. */
export function envelopeOf({ payload, signatures, keyId }: Envelope): z.infer<typeof envelopeSchema> {
  return {
    payload: toBase64(new TextEncoder().encode(payload)),
    payloadType: PAYLOAD_TYPE,
    signatures: signatures.map((signature) => ({ sig: toBase64(signature), keyid: keyId })),
  };
}

/** Reads an envelope that has the schema. Throws CorruptError if its payload is not UTF-8. */
export function openEnvelope({ payload, signatures }: z.infer<typeof envelopeSchema>, where: string): Envelope {
  const bytes = (text: string): Uint8Array => {
    const decoded = fromBase64(text);
    // the last character may have bits that no byte takes: another text of the same bytes was changed
    if (toBase64(decoded) !== text) throw new CorruptError("a signature's Base64 is not as a writer leaves it", { file: where });
    return decoded;
  };
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes(payload));
  } catch (error) {
    if (error instanceof CorruptError) throw error;
    throw new CorruptError("a signed statement is not text", { file: where }, { cause: error });
  }
  return { payload: text, signatures: signatures.map(({ sig }) => bytes(sig)), keyId: signatures[0]!.keyid ?? "" };
}

/** Reads JSON in the form that a schema says. Throws CorruptError that names the file and the first field that differs. */
export function parseSigned<Schema extends z.ZodType>(schema: Schema, text: string, where: string): z.infer<Schema> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new CorruptError("a signature is not JSON", { file: where }, { cause: error });
  }
  const { data, error } = schema.safeParse(value);
  if (error === undefined) return data;
  const { path, message } = error.issues[0]!;
  throw new CorruptError("a signature is damaged, or has another form than is known here", {
    file: where,
    field: path.join("."),
    problem: message,
  });
}

/** The text of names in the order in which all writers list them: part by part of a path, each by code point. */
export function byPath(a: string, b: string): number {
  const [left, right] = [a.split("/"), b.split("/")];
  for (const [at, part] of left.entries()) {
    const other = right[at];
    if (other === undefined) return 1;
    if (part !== other) return compare(part, other);
  }
  return left.length - right.length;
}

function compare(a: string, b: string): number {
  const [left, right] = [[...a], [...b]];
  for (const [at, char] of left.entries()) {
    if (at === right.length) return 1;
    const difference = char.codePointAt(0)! - right[at]!.codePointAt(0)!;
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}

function toBase64(bytes: Uint8Array): string {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}

function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
}
