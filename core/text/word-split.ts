import { undisputed } from "./unicode.js";

/** GPT-2's split of a text into words, by hand: its regular expression takes twice as long, and a string for each word as much again. */

/** Classes of characters; UNKNOWN: not looked up yet. */
const [UNKNOWN, LETTER, NUMBER, SPACE, OTHER] = [0, 1, 2, 3, 4] as const;
const [BLANK, APOSTROPHE] = [0x20, 0x27] as const;

/** [65536] class by UTF-16 unit. Surrogates stay UNKNOWN, because half a pair has no class. */
const classes = new Uint8Array(1 << 16);
/** class by code point, for surrogate pairs and lone surrogates */
const pairClasses = new Map<number, number>();

/** The code point that begins at `at`; a surrogate without its other half stands for itself. */
function pointAt(units: Uint16Array, at: number, end: number): number {
  const unit = units[at]!;
  const next = at + 1 < end ? units[at + 1]! : 0;
  const isPair = unit >= 0xd800 && unit < 0xdc00 && next >= 0xdc00 && next < 0xe000;
  return isPair ? 0x10000 + ((unit - 0xd800) << 10) + (next - 0xdc00) : unit;
}

function lookUp(point: number): number {
  const known = pairClasses.get(point);
  if (known !== undefined) return known;
  const character = undisputed(String.fromCodePoint(point));
  const found = /\p{L}/u.test(character) ? LETTER : /\p{N}/u.test(character) ? NUMBER : /\p{White_Space}/u.test(character) ? SPACE : OTHER;
  if (point > 0xffff || (point >= 0xd800 && point < 0xe000)) pairClasses.set(point, found);
  else classes[point] = found;
  return found;
}

/** Class of the character that begins at `at`. */
function classAt(units: Uint16Array, at: number, end: number): number {
  return classes[units[at]!]! || lookUp(pointAt(units, at, end));
}

/** End of the word that begins at `start`. `end`: the end of the text, above `start`. All are indices of UTF-16 units. */
export function wordEnd(units: Uint16Array, start: number, end: number): number {
  const first = units[start]!;
  if (first === APOSTROPHE) {
    const contracted = contractionEnd(units, start, end);
    if (contracted > 0) return contracted;
  }
  let at = start;
  let kind = classAt(units, at, end);
  if (kind === SPACE) {
    const next = start + 1 < end ? classAt(units, start + 1, end) : SPACE;
    if (first !== BLANK || next === SPACE) return spacesEnd(units, start, end);
    // a blank belongs to the word after it
    at = start + 1;
    kind = next;
  }
  while (at < end) {
    const known = classes[units[at]!]!;
    if (known === kind) at++;
    else if (known !== UNKNOWN) return at;
    else {
      const point = pointAt(units, at, end);
      if (lookUp(point) !== kind) return at;
      at += point > 0xffff ? 2 : 1;
    }
  }
  return at;
}

/** End of white space. If a word follows, the last character is left out, because it may belong to the word. */
function spacesEnd(units: Uint16Array, start: number, end: number): number {
  let at = start + 1;
  while (at < end && classAt(units, at, end) === SPACE) at++;
  return at === end || at === start + 1 ? at : at - 1;
}

const CONTRACTIONS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"].map((text) => Array.from(text, (letter) => letter.charCodeAt(0)));

/** End of 's, 't, 're, 've, 'm, 'll or 'd at `start`; 0 if there is none. */
function contractionEnd(units: Uint16Array, start: number, end: number): number {
  const found = CONTRACTIONS.find(
    (letters) => start + letters.length <= end && letters.every((letter, at) => units[start + at] === letter),
  );
  return found === undefined ? 0 : start + found.length;
}
