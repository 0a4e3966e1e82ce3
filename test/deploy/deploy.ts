import { readFileSync } from "node:fs";
import { join } from "node:path";
import { main } from "../../cli/main.js";
import { CHECKOUT } from "../../workers/environment.js";

/** What the tests of deploy/ share. */

/** A file of the checkout. */
export function read(...path: readonly string[]): string {
  return readFileSync(join(CHECKOUT, ...path), "utf8");
}

/** Variables that something in the product, an SDK or a tool reads; one that is misspelt is read by nobody. */
const ELSEWHERE = [
  "AWS_ACCESS_KEY_ID",
  "AWS_SECRET_ACCESS_KEY",
  "AWS_REGION",
  "AWS_ENDPOINT_URL_S3",
  "TEMPORAL_ADDRESS",
  "TEMPORAL_NAMESPACE",
  "HF_HOME",
];

/** Whether a variable means something to Roslin. */
export function isRead(variable: string): boolean {
  return ELSEWHERE.includes(variable) || read("workers", "environment.ts").includes(`"${variable}"`);
}

/** Whether `roslin …args` names a command that exists, with options that it has. */
export async function isCommand([command, ...options]: readonly string[]): Promise<boolean> {
  const log = console.log;
  let usage = "";
  console.log = (line: string): void => void (usage = line);
  try {
    if ((await main([command!, "--help"])) !== 0) return false;
  } finally {
    console.log = log;
  }
  return options.every((option) => new RegExp(`${option}\\b`).test(usage));
}
