/**
 * Characters as `tokenizers` 0.23 knows them. Its tables have other Unicode versions than JavaScript's, and a letter that one
 * of them lacks splits a text elsewhere.
 */

/** Characters by ranges in hexadecimal digits, "41-5a 5f". */
function characters(ranges: string): string {
  const escaped = (point: string): string => `\\u{${point}}`;
  return ranges.replace(/[0-9a-f]+/g, escaped).replaceAll(" ", "");
}

/** Letters, marks and numbers of Unicode 17, which regular expressions of `tokenizers` don't know. */
const LATER = characters(
  "88f c5c cdc 1acf-1add 1ae0-1aeb a7ce-a7cf a7d2 a7d4 a7f1 10940-10959 10ec5-10ec7 10efa-10efb 11b60-11b67 11db0-11ddb 11de0-11de9 16ea0-16eb8 16ebb-16ed3 16ff2-16ff6 187f8-187ff 18d09-18d1e 18d80-18df2 1e6c0-1e6de 1e6e0-1e6f5 1e6fe-1e6ff 2b73a-2b73f 2cea2-2cead 323b0-33479",
);
/** Those of Unicode 15 and 16, which it knows and an older JavaScript doesn't. */
const UPPER = characters("1c89 a7cb-a7cc a7da a7dc 10d50-10d65");
const LOWER = characters("1c8a a7cd a7db 10d70-10d85 1df25-1df2a");
const LETTERS = characters(
  "105c0-105f3 10d4a-10d4f 10d6f 10ec2-10ec4 1123f-11240 11380-11389 1138b 1138e 11390-113b5 113b7 113d1 113d3 11bc0-11be0 11f02 11f04-11f10 11f12-11f33 1342f 13441-13446 13460-143fa 16100-1611d 16d40-16d6c 18cff 1b132 1b155 1e030-1e06d 1e4d0-1e4eb 1e5d0-1e5ed 1e5f0 2b739 2ebf0-2ee5d 31350-323af",
);
const NUMBERS = characters(
  "10d40-10d49 116d0-116e3 11bf0-11bf9 11f50-11f59 16130-16139 16d70-16d79 1ccf0-1ccf9 1d2c0-1d2d3 1e4f0-1e4f9 1e5f1-1e5fa",
);
const MARKS = characters(
  "897 cf3 ece 10d69-10d6d 10efc-10eff 11241 113b8-113c0 113c2 113c5 113c7-113ca 113cc-113d0 113d2 113e1-113e2 11f00-11f01 11f03 11f34-11f3a 11f3e-11f42 11f5a 13440 13447-13455 1611e-1612f 1e08f 1e4ec-1e4ef 1e5ee-1e5ef",
);

const DISPUTED = new RegExp(`[${LATER}${UPPER}${LOWER}${LETTERS}${NUMBERS}${MARKS}]`, "u");
/** Undisputed characters of one and of two units for each class, as long as what they stand for. */
const STAND_INS: readonly (readonly [RegExp, one: string, two: string])[] = [
  [new RegExp(`[${LATER}]`, "gu"), "\u{e000}", "\u{f0000}"],
  [new RegExp(`[${UPPER}]`, "gu"), "À", "\u{10400}"],
  [new RegExp(`[${LOWER}]`, "gu"), "à", "\u{10428}"],
  [new RegExp(`[${LETTERS}]`, "gu"), "ª", "\u{10330}"],
  [new RegExp(`[${NUMBERS}]`, "gu"), "²", "\u{10107}"],
  [new RegExp(`[${MARKS}]`, "gu"), "\u{300}", "\u{1d165}"],
];

/** A text with stand-ins for characters whose class is disputed. Regular expressions find in it, unit by unit, what they find in `tokenizers`. */
export function undisputed(text: string): string {
  if (!DISPUTED.test(text)) return text;
  return STAND_INS.reduce((changed, [pattern, one, two]) => changed.replace(pattern, (found) => (found.length === 1 ? one : two)), text);
}

/** Numbers as Rust knows them: Digits asks its standard library, which has Unicode 17. */
export const RUST_NUMBER: string = `\\p{N}${NUMBERS}${characters("11de0-11de9 16ff4-16ff6")}`;

/** Characters that normalizing leaves alone in `tokenizers`, because its table has Unicode 9: no form changes, joins or moves them. */
const INERT = new RegExp(
  `([${characters(
    "7fd 897-89f 8ca-8d3 9fe c3c d3b-d3c eba 1715 1abf-1add 1ae0-1aeb 1df6-1dfa 32ff a7f1-a7f4 a82c ab69 105c9 105d2 105da 105e4 10781-10785 10787-107b0 107b2-107ba 10d24-10d27 10d69-10d6d 10eab-10eac 10efa-10efb 10efd-10eff 10f46-10f50 10f82-10f85 11070 1133b 11382-11385 1138b 1138e 11390-11391 113b8 113bb 113c2 113c5 113c7-113c9 113ce-113d0 1145e 11839-1183a 11930 11935 11938 1193d-1193e 11943 119e0 11a34 11a47 11a99 11d42 11d44-11d45 11d97 11f41-11f42 1611e-16129 1612f 16d63 16d67-16d6a 16ff0-16ff1 1ccd6-1ccf9 1e030-1e06d 1e08f 1e130-1e136 1e2ae 1e2ec-1e2ef 1e4ec-1e4ef 1e5ee-1e5ef 1e6e3 1e6e6 1e6ee-1e6ef 1e6f5 1f16c 1fbf0-1fbf9",
  )}])`,
  "u",
);

/** A Unicode normalization form, or lower case. */
export type Normalizer = "NFC" | "NFD" | "NFKC" | "NFKD" | "Lowercase";

/** A text as `tokenizers` normalizes it. */
export function normalize(text: string, normalizer: Normalizer): string {
  if (normalizer !== "Lowercase") {
    // every second part is an inert character
    const parts = text.split(INERT);
    return parts.map((part, index) => (index % 2 === 0 ? part.normalize(normalizer) : part)).join("");
  }
  // character by character, so that a final sigma is like any other
  return text.includes("Σ") ? Array.from(text, (character) => character.toLowerCase()).join("") : text.toLowerCase();
}
