import { timingSafeEqual, createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Payload, PayloadCodec } from "@temporalio/common";
import { messageOf } from "../core/errors.js";

/** Temporal's remote codec over HTTP: the UI and the stock CLI send payloads to /decode and /encode, as protobuf's JSON. */

/** Bytes of a request: Temporal sends no message above 4 MB, in base64. */
const MOST_BYTES = 16 << 20;
const LOCAL_HOST = /^(127\.0\.0\.1|localhost|\[::1\])(:\d+)?$/i;

/** Who may ask. */
export interface CodecAccess {
  /** origins of the UI whose pages may ask from a browser, such as http://127.0.0.1:8233 */
  readonly origins: readonly string[];
  /** what a request must carry as "Authorization: Bearer TOKEN"; null: nothing */
  readonly token: string | null;
}

interface JsonPayload {
  readonly metadata?: Readonly<Record<string, string>>;
  readonly data?: string;
}

/** An HTTP server that encrypts and decrypts for whoever has access; it does not listen yet. */
export function codecServer(codec: PayloadCodec, access: CodecAccess): Server {
  return createServer((request, response) => {
    answer(request, response, codec, access).catch((error: unknown) => {
      if (!response.headersSent) end(response, 400, messageOf(error));
    });
  });
}

async function answer(request: IncomingMessage, response: ServerResponse, codec: PayloadCodec, access: CodecAccess): Promise<void> {
  const { origin, host = "", authorization } = request.headers;
  // a page of another site can let its own name lead to this machine
  if (!LOCAL_HOST.test(host)) return end(response, 403, "the host must be 127.0.0.1 or localhost");
  if (origin !== undefined) {
    if (!access.origins.includes(origin)) return end(response, 403, `pages of ${origin} may not ask; see roslin codec --help`);
    response.setHeader("Access-Control-Allow-Origin", origin);
    response.setHeader("Access-Control-Allow-Methods", "POST");
    response.setHeader("Access-Control-Allow-Headers", "authorization,content-type,x-namespace");
    response.setHeader("Vary", "Origin");
  }
  if (request.method === "OPTIONS") return end(response, 204, "");
  const path = new URL(request.url ?? "/", "http://codec").pathname;
  const work = path.endsWith("/decode") ? "decode" : path.endsWith("/encode") ? "encode" : null;
  if (work === null) return end(response, 404, "there are /encode and /decode");
  if (request.method !== "POST") return end(response, 405, "POST payloads as JSON");
  if (access.token !== null && !same(authorization ?? "", `Bearer ${access.token}`))
    return end(response, 401, "the token is missing or wrong");
  const payloads = parsed(await bodyOf(request)).map(fromJson);
  const done = await codec[work](payloads);
  response.setHeader("Content-Type", "application/json");
  end(response, 200, JSON.stringify({ payloads: done.map(toJson) }));
}

function end(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status).end(text);
}

function same(given: string, wanted: string): boolean {
  const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(given), digest(wanted));
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > MOST_BYTES) throw new Error(`a request may have ${MOST_BYTES} bytes at most`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

function parsed(text: string): readonly JsonPayload[] {
  const body = JSON.parse(text) as { readonly payloads?: unknown } | null;
  // protobuf's JSON leaves an empty list out
  const payloads = body === null ? null : (body.payloads ?? []);
  if (!Array.isArray(payloads)) throw new Error('expected {"payloads": [...]}');
  return payloads as readonly JsonPayload[];
}

function fromJson({ metadata = {}, data = "" }: JsonPayload): Payload {
  const fields = Object.entries(metadata).map(([name, value]) => [name, Buffer.from(value, "base64")] as const);
  return { metadata: Object.fromEntries(fields), data: Buffer.from(data, "base64") };
}

function toJson({ metadata, data }: Payload): JsonPayload {
  const fields = Object.entries(metadata ?? {}).map(([name, value]) => [name, Buffer.from(value).toString("base64")] as const);
  return { metadata: Object.fromEntries(fields), data: Buffer.from(data ?? []).toString("base64") };
}
