import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { UserError } from "../core/errors.js";
import { readPrivate, writePrivate } from "../infra/disk/private.js";

/** The keys of payloads, from one setting: ROSLIN_PAYLOAD_KEY. */

/** A key of AES-256 and the name by which payloads say which one they need. */
export interface PayloadKey {
  readonly id: string;
  readonly key: Buffer;
}

const KEY_BYTES = 32;

/**
 * The keys that the setting names, or null: payloads are not encrypted. The first one encrypts; all of them decrypt. The
 * setting is a list "id:key,id:key" with keys in base64, or the path of a file with one "id:key" a line. Throws UserError
 * that names no key.
 */
export function payloadKeys(
  variables: Readonly<Record<string, string | undefined>>,
  say: (line: string) => void = console.error,
): readonly PayloadKey[] | null {
  const setting = variables["ROSLIN_PAYLOAD_KEY"]?.trim() ?? "";
  if (setting === "") return null;
  // a key in base64 may begin with a slash, but an id may not
  const file = setting.startsWith("/") ? setting : null;
  const text = file === null ? setting : readPrivate(file, say);
  if (text === null)
    throw new UserError("ROSLIN_PAYLOAD_KEY names a file that does not exist; make one with roslin codec --new-key FILE", { file });
  const where = file === null ? { variable: "ROSLIN_PAYLOAD_KEY" } : { file };
  const keys = text.split(/[\s,]+/).flatMap((entry, index) => (entry === "" ? [] : [parseKey(entry, { ...where, entry: index + 1 })]));
  if (keys.length === 0) throw new UserError("there is no key for payloads; make one with roslin codec --new-key FILE", where);
  const ids = keys.map(({ id }) => id);
  const twice = ids.find((id, index) => ids.indexOf(id) !== index);
  if (twice !== undefined)
    throw new UserError("two keys for payloads have the same id; give each an id of its own", { ...where, id: twice });
  return keys;
}

function parseKey(entry: string, where: Readonly<Record<string, string | number>>): PayloadKey {
  const colon = entry.indexOf(":");
  const id = entry.slice(0, Math.max(0, colon));
  const key = Buffer.from(entry.slice(colon + 1), "base64");
  if (/^[\w.-]{1,64}$/.test(id) && key.length === KEY_BYTES) return { id, key };
  throw new UserError(
    "a key for payloads must be id:key, the id of letters, digits, - _ and ., and the key of 32 bytes in base64; make one with roslin codec --new-key FILE",
    where,
  );
}

/** Puts a new key at the head of a file of keys, which is made if it is missing: from the next start on it encrypts, and the others decrypt. Returns its id. */
export function addPayloadKey(file: string, now: Date): string {
  const before = existsSync(file) ? (payloadKeys({ ROSLIN_PAYLOAD_KEY: file }) ?? []) : [];
  const id = `k${now.toISOString().slice(0, 19).replace(/\D/g, "")}`;
  const lines = [{ id, key: randomBytes(KEY_BYTES) }, ...before].map((each) => `${each.id}:${each.key.toString("base64")}\n`);
  writePrivate(file, lines.join(""));
  return id;
}
