import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { answerHub } from "../../../demo/hub/server.js";
import type { WrittenRepository } from "../../../demo/hub/repositories.js";
import { Uploads, type UploadOptions } from "../../../demo/hub/uploads.js";
import type { HubAccess } from "../../../infra/sources/hub/access.js";

/** The token of an account that may write to `me` and `our`. */
export const TOKEN = "hf_testtokenthatnobodymaysee";

/** A small hub in this process that takes uploads, notes what is asked of it, and can be made to misbehave. */
export interface UploadHub {
  readonly url: string;
  readonly access: HubAccess;
  readonly requests: { readonly asked: string; readonly authorization: string | undefined }[];
  /** bytes of LFS objects that came, by address without its query */
  readonly put: Map<string, number>;
  /** true: it answered, and the usual answer isn't given */
  misbehave: (request: IncomingMessage, response: ServerResponse) => boolean;
  repository(id: string): WrittenRepository;
  close(): Promise<void>;
}

/** Starts one. */
export async function startUploadHub(options: Partial<UploadOptions> = {}): Promise<UploadHub> {
  const root = await mkdtemp(join(tmpdir(), "roslin-upload-hub-"));
  const uploads = new Uploads({
    accounts: {
      [TOKEN]: { name: "me", role: "write", orgs: ["our"] },
      hf_reader: { name: "me", role: "read" },
    },
    ...options,
  });
  const server = createServer((request, response) => {
    const path = (request.url ?? "").split("?")[0]!;
    hub.requests.push({ asked: `${request.method} ${path}`, authorization: request.headers.authorization });
    if (hub.misbehave(request, response)) return;
    if (request.method === "PUT") request.on("data", (chunk: Buffer) => hub.put.set(path, (hub.put.get(path) ?? 0) + chunk.length));
    answerHub(root, request, response, uploads).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const hub: UploadHub = {
    url,
    access: { endpoint: url, token: TOKEN, timing: { stallMs: 2000, retryMs: 5 } },
    requests: [],
    put: new Map(),
    misbehave: () => false,
    repository: (id) => uploads.repositories.get(id)!,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
      await rm(root, { recursive: true, force: true });
    },
  };
  return hub;
}
