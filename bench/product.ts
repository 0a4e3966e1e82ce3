import { fork, type ChildProcess } from "node:child_process";
import { join } from "node:path";

/** How fast onnxruntime multiplies matrices on this machine: an upper bound for training. */

/** a[m,k] · b[n,k] transposed */
export interface Product {
  readonly m: number;
  readonly k: number;
  readonly n: number;
}

const SECONDS = 1;

/** Operations per second of `processes` processes together, at the same time, with one thread each. */
export async function productSpeed(product: Product, processes: number): Promise<number> {
  const input = JSON.stringify({ ...product, seconds: SECONDS });
  const program = join(import.meta.dirname, "product-child.js");
  const children = Array.from({ length: processes }, () => fork(program, [input], { execArgv: ["--enable-source-maps"] }));
  try {
    await Promise.all(children.map(said));
    const speeds = children.map(said);
    for (const child of children) child.send("go");
    return (await Promise.all(speeds)).reduce<number>((sum, speed) => sum + (speed as number), 0);
  } finally {
    for (const child of children) child.kill("SIGKILL");
  }
}

/** The next message of a child. */
function said(child: ChildProcess): Promise<unknown> {
  return new Promise((resolve, reject) => {
    child.once("message", resolve);
    child.once("exit", (code, signal) =>
      reject(new Error(`a process that measures matrix products died (${signal ?? `exit code ${code}`})`)),
    );
  });
}
