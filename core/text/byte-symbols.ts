/** GPT-2 writes bytes as printable characters in its vocabulary: these tables go both ways. */

const printable = (byte: number): boolean => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;

/** [256] the character that stands for a byte: the byte's own if it is printable, else one from U+0100 on. */
export const SYMBOL_OF_BYTE: readonly string[] = (() => {
  let unprintable = 0;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : 256 + unprintable++));
})();

const BYTE_OF_SYMBOL: ReadonlyMap<string, number> = new Map(SYMBOL_OF_BYTE.map((symbol, byte) => [symbol, byte]));

/** The bytes that a vocabulary entry stands for. An entry with any other character stands for its UTF-8. */
export function bytesOfSymbols(token: string): Uint8Array {
  const bytes = [...token].map((symbol) => BYTE_OF_SYMBOL.get(symbol));
  return bytes.includes(undefined) ? new TextEncoder().encode(token) : Uint8Array.from(bytes as number[]);
}

/** Bytes as a vocabulary entry writes them. */
export function symbolsOfBytes(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => SYMBOL_OF_BYTE[byte]).join("");
}
