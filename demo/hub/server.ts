import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { refuse, sendJson } from "./answers.js";
import { readTree, type Tree, type TreeFile } from "./tree.js";
import { Uploads, type UploadOptions } from "./uploads.js";

/**
 * A small hub: `root` holds models/<owner>/<name>/… and datasets/<owner>/<name>/…; each repository there has one branch, main.
 * With `uploads` it takes models of the accounts that these name, which it keeps in memory.
 */
export interface HubServerOptions {
  readonly uploads?: UploadOptions;
  readonly root: string;
  readonly host: string;
  /** 0: any free port */
  readonly port: number;
}

/** A running hub. */
export interface HubServer {
  /** what HF_ENDPOINT is set to */
  readonly url: string;
  close(): Promise<void>;
}

/** What a path of the hub's protocol asks for. */
interface Question {
  readonly kind: "models" | "datasets";
  readonly id: string;
  readonly revision: string;
  readonly what: "description" | "tree" | "file";
  /** of a file */
  readonly path: string;
}

/** Starts a server that speaks the Hugging Face hub's protocol, as far as downloads and uploads need it. */
export async function startHubServer(options: HubServerOptions): Promise<HubServer> {
  const uploads = options.uploads === undefined ? undefined : new Uploads(options.uploads);
  const server = createServer((request, response) => {
    answerHub(options.root, request, response, uploads).catch(() => response.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port, options.host, resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://${options.host}:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Answers one request; rejects when the client goes away. */
export async function answerHub(root: string, request: IncomingMessage, response: ServerResponse, uploads?: Uploads): Promise<void> {
  if (uploads !== undefined && (await uploads.answer(request, response))) return;
  if (request.method !== "GET" && request.method !== "HEAD") return refuse(response, 405, "MethodNotAllowed");
  const question = parseQuestion(new URL(request.url ?? "/", "http://hub").pathname);
  if (question === null) return refuse(response, 404, "EntryNotFound");
  const isWritten = question.kind === "models" && uploads?.repositories.has(question.id) === true;
  const tree = isWritten ? uploads.tree(question.id, question.revision, request) : await readTree(join(root, question.kind, question.id));
  if (tree === "hidden") return refuse(response, 401, "RepoNotFound");
  if (tree === null) return refuse(response, 404, isWritten ? "RevisionNotFound" : "RepoNotFound");
  if (!isWritten && question.revision !== "main" && question.revision !== tree.commit) return refuse(response, 404, "RevisionNotFound");
  if (question.what !== "file") return sendJson(response, question.what === "tree" ? listing(tree) : describe(question, tree));
  const file = tree.files.find(({ path }) => path === question.path);
  if (file === undefined) return refuse(response, 404, "EntryNotFound");
  await send(request, response, tree, file);
}

/** Size of the pointer that git keeps in place of a large file. */
const POINTER_BYTES = 134;
const NAME = /^[\w][\w.-]*$/;

/** `/api/models/{id}[/revision/{rev}]`, `/api/models/{id}/tree/{rev}` and `/[datasets/]{id}/resolve/{rev}/{path}`; null for anything else. */
export function parseQuestion(pathname: string): Question | null {
  let parts: string[];
  try {
    parts = pathname.split("/").slice(1).map(decodeURIComponent);
  } catch {
    return null;
  }
  const description = parts[0] === "api";
  if (description) parts.shift();
  const kind = parts[0] === "datasets" ? "datasets" : "models";
  if (parts[0] === kind) parts.shift();
  const [owner = "", name = "", verb, revision = "main", ...path] = parts;
  if (!NAME.test(owner) || !NAME.test(name)) return null;
  const asked = { kind, id: `${owner}/${name}`, revision, path: path.join("/") } as const;
  if (!description) return verb === "resolve" && path.length > 0 ? { ...asked, what: "file" } : null;
  if (path.length > 0) return null;
  if (verb === undefined || verb === "revision") return { ...asked, what: "description" };
  return verb === "tree" ? { ...asked, what: "tree" } : null;
}

function describe({ id }: Question, tree: Tree): unknown {
  const siblings = tree.files.map(({ path, bytes, blobId, sha256, large }) => ({
    rfilename: path,
    size: bytes,
    blobId,
    ...(large ? { lfs: { sha256, size: bytes, pointerSize: POINTER_BYTES } } : {}),
  }));
  return { id, sha: tree.commit, private: tree.isPrivate, gated: false, siblings };
}

/** The same files as the tree endpoint lists them, which newer clients use. */
function listing(tree: Tree): unknown {
  return tree.files.map(({ path, bytes, blobId, sha256, large }) => ({
    type: "file",
    path,
    size: bytes,
    oid: blobId,
    ...(large ? { lfs: { oid: sha256, size: bytes, pointerSize: POINTER_BYTES } } : {}),
  }));
}

async function send(request: IncomingMessage, response: ServerResponse, tree: Tree, file: TreeFile): Promise<void> {
  const etag = `"${file.large ? file.sha256 : file.blobId}"`;
  response.setHeader("x-repo-commit", tree.commit);
  response.setHeader("etag", etag);
  if (file.large) response.setHeader("x-linked-etag", etag).setHeader("x-linked-size", file.bytes);
  response.setHeader("accept-ranges", "bytes");
  response.setHeader("content-type", "application/octet-stream");
  const range = parseRange(request.headers.range, file.bytes);
  if (range === "impossible") {
    response.setHeader("content-range", `bytes */${file.bytes}`);
    return refuse(response, 416, "RangeNotSatisfiable");
  }
  const { start, end } = range ?? { start: 0, end: file.bytes };
  if (range !== null) response.setHeader("content-range", `bytes ${start}-${end - 1}/${file.bytes}`);
  response.writeHead(range === null ? 200 : 206, { "content-length": end - start });
  if (request.method === "HEAD" || start === end) response.end();
  else await pipeline(tree.read(file.path, start, end), response);
}

/** A Range header's bytes, `end` exclusive; null: the whole file (also for forms that may be ignored, such as several ranges). */
export function parseRange(
  header: string | undefined,
  bytes: number,
): { readonly start: number; readonly end: number } | null | "impossible" {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? "");
  const [, first = "", last = ""] = match ?? [];
  if (first === "" && last === "") return null;
  if (first === "") return Number(last) === 0 || bytes === 0 ? "impossible" : { start: Math.max(0, bytes - Number(last)), end: bytes };
  const start = Number(first);
  const end = last === "" ? bytes : Math.min(bytes, Number(last) + 1);
  if (last !== "" && Number(last) < start) return null;
  return start >= bytes ? "impossible" : { start, end };
}
