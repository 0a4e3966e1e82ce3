import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { answerHub } from "../../../../demo/hub/server.js";

/** A small hub in this process that counts what it sends and can be made to misbehave. */
export interface TestHub {
  readonly url: string;
  /** directory of models/ and datasets/ */
  readonly root: string;
  /** a directory for caches and stages */
  readonly work: string;
  readonly requests: { readonly path: string; readonly range: string | undefined; readonly authorization: string | undefined }[];
  /** bytes of bodies sent */
  sent: number;
  /** true: it answered, and the usual answer isn't given */
  misbehave: (request: IncomingMessage, response: ServerResponse) => boolean;
  close(): Promise<void>;
}

/** Starts one; `files` are put below its root. */
export async function startTestHub(files: Readonly<Record<string, Uint8Array | string>>): Promise<TestHub> {
  const base = await mkdtemp(join(tmpdir(), "roslin-hub-"));
  const root = join(base, "root");
  for (const [path, bytes] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), bytes);
  }
  const server = createServer((request, response) => {
    hub.requests.push({ path: request.url ?? "", range: request.headers.range, authorization: request.headers.authorization });
    const write = response.write.bind(response) as (chunk: Uint8Array, ...rest: unknown[]) => boolean;
    response.write = ((chunk: Uint8Array, ...rest: unknown[]) => {
      hub.sent += chunk.length;
      return write(chunk, ...rest);
    }) as typeof response.write;
    if (!hub.misbehave(request, response)) answerHub(root, request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const hub: TestHub = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    root,
    work: join(base, "work"),
    requests: [],
    sent: 0,
    misbehave: () => false,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
      await rm(base, { recursive: true, force: true });
    },
  };
  await mkdir(hub.work);
  return hub;
}

/** Bytes without a pattern that a wrong offset could hide in. */
export function noise(length: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(length);
  let state = seed;
  for (let index = 0; index < length; index++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    bytes[index] = state >>> 24;
  }
  return bytes;
}

/** Cuts the connection after so many bytes of a body. */
export function cutAfter(response: ServerResponse, bytes: number): void {
  const write = response.write.bind(response) as (chunk: Uint8Array, ...rest: unknown[]) => boolean;
  let left = bytes;
  response.write = ((chunk: Uint8Array, ...rest: unknown[]) => {
    if (chunk.length <= left) {
      left -= chunk.length;
      return write(chunk, ...rest);
    }
    write(chunk.subarray(0, left), () => response.destroy());
    return false;
  }) as typeof response.write;
}
