import { fstatSync, ftruncateSync, writeSync } from "node:fs";

/** Adds bytes to an open file whole or not at all: what a full disk has cut short is taken back. */
export function appendWhole(file: number, bytes: Uint8Array): void {
  const { size } = fstatSync(file);
  try {
    for (let sent = 0; sent < bytes.length;) sent += writeSync(file, bytes, sent);
  } catch (error) {
    ftruncateSync(file, size);
    throw error;
  }
}
