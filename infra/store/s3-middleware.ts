import type { S3Client } from "@aws-sdk/client-s3";
import { isPassing } from "../http/retries.js";
import { headerOf, statusOf } from "./s3-errors.js";

/** What Roslin's client does beyond the SDK's: between a call of a command and the connection. */

interface Request {
  method: string;
  protocol: string;
  hostname: string;
  port?: number;
  path: string;
  query: unknown;
  headers: Record<string, string>;
}

interface Response {
  readonly statusCode: number;
  readonly headers: Record<string, string | undefined>;
  readonly body: { resume?(): void };
}

/** Adds all of it to a client. */
export function addMiddleware(client: S3Client): void {
  signChecksum(client);
  dropRefusedMode(client);
  followRegion(client);
  retryByStatus(client);
  followRedirects(client);
}

/** The signature wants the digest that was sent along as checksum: nothing is digested twice. */
function signChecksum({ middlewareStack }: S3Client): void {
  middlewareStack.add(
    (next) => (args) => {
      const { headers } = args.request as Request;
      const checksum = headers["x-amz-checksum-sha256"];
      if (checksum !== undefined) headers["x-amz-content-sha256"] = Buffer.from(checksum, "base64").toString("hex");
      return next(args);
    },
    { step: "build", priority: "low", name: "signChecksum" },
  );
}

const MODE = "x-amz-checksum-mode";

/** Servers that don't know the header that asks for checksums refuse every read that has it: they are asked without, from then on. */
function dropRefusedMode({ middlewareStack }: S3Client): void {
  let isRefused = false;
  middlewareStack.add(
    (next) => async (args) => {
      const { headers, method } = args.request as Request;
      if (isRefused) delete headers[MODE];
      if (headers[MODE] === undefined) return await next(args);
      try {
        return await next(args);
      } catch (error) {
        // an answer to HEAD has no text
        const isNamed = method === "HEAD" ? [400, 501].includes(statusOf(error) ?? 0) : (error as Error).message.includes(MODE);
        // another call may have learnt it while this one was on its way
        if (!isNamed) throw error;
        delete headers[MODE];
        const result = await next(args);
        isRefused = true;
        return result;
      }
    },
    { step: "build", priority: "low", name: "dropRefusedMode" },
  );
}

/** Where a bucket is, when an error says that it is elsewhere. */
function regionIn(error: unknown): string | null {
  return [301, 307, 400].includes(statusOf(error) ?? 0) ? (headerOf(error, "x-amz-bucket-region") ?? null) : null;
}

/** The same error without the secrets that S3 sends with some errors, such as the session token: logs show an error's fields. */
function bared(error: unknown): unknown {
  for (const field of Object.keys(error as object)) if (!ERROR_FIELDS.has(field)) delete (error as Record<string, unknown>)[field];
  return error;
}

const ERROR_FIELDS = new Set(["name", "message", "$fault", "$metadata", "code", "errno", "syscall", "address", "port"]);

/** Asks a bucket that is in another region there, for good: the SDK's own way, back after every call, fails when calls overlap. */
function followRegion(client: S3Client): void {
  client.middlewareStack.add(
    (next) => async (args) => {
      const region = await client.config.region();
      try {
        return await next(args);
      } catch (error) {
        const actual = regionIn(error);
        if (actual === null || actual === region) throw bared(error);
        client.config.region = () => Promise.resolve(actual);
        return await next(args).catch((again: unknown) => {
          throw bared(again);
        });
      }
    },
    { step: "initialize", priority: "high", name: "followRegion" },
  );
}

/** The SDK retries 429, 500, 502, 503 and 504 by itself; 408 and 425 pass as well. */
function retryByStatus({ middlewareStack }: S3Client): void {
  middlewareStack.add(
    (next) => async (args) => {
      try {
        return await next(args);
      } catch (error) {
        const status = statusOf(error) ?? 0;
        if (status < 500 && isPassing(status)) (error as { $retryable?: object }).$retryable ??= {};
        throw error;
      }
    },
    // inside the SDK's own middleware that retries
    { step: "finalizeRequest", priority: "low", name: "retryByStatus" },
  );
}

const MAX_REDIRECTS = 5;
/** Headers that go to another server: none of them is a credential. */
const PUBLIC_HEADERS = ["range", "user-agent", "accept"];

/**
 * Follows a GET that is redirected to another server, such as a CDN, which the SDK does not. No credential goes there. If the
 * other server has no such object, the redirect itself is the answer: the endpoint leads elsewhere.
 */
function followRedirects({ middlewareStack }: S3Client): void {
  middlewareStack.add(
    (next) => async (args) => {
      const request = args.request as Request;
      const first = await next(args);
      const redirect = first.response as Response;
      let last = first;
      for (let hop = 0, from = addressOf(request); hop < MAX_REDIRECTS; hop++) {
        const to = request.method === "GET" ? targetOf(last.response as Response, from) : null;
        if (to === null) break;
        from = to;
        const found = await next({ ...args, request: redirected(request, to) }).catch((error: NodeJS.ErrnoException) => {
          if (error.code === "ENOTFOUND") return null;
          throw error;
        });
        if (found === null) break;
        (last.response as Response).body.resume?.();
        last = found;
      }
      const { statusCode, headers } = last.response as Response;
      if (last !== first) {
        if (statusCode >= 300 && !isPassing(statusCode)) return first;
        // the version is the one that S3 named, whatever the other server calls it
        const { etag } = redirect.headers;
        if (etag === undefined) delete headers["etag"];
        else headers["etag"] = etag;
      }
      // of a range some servers send the checksum of the whole
      if (statusCode === 206) for (const name of Object.keys(headers)) if (name.startsWith("x-amz-checksum-")) delete headers[name];
      return last;
    },
    { step: "deserialize", priority: "low", name: "followRedirects" },
  );
}

function addressOf({ protocol, hostname, port, path }: Request): URL {
  return new URL(path, `${protocol}//${hostname}${port === undefined ? "" : `:${port}`}`);
}

/** Where an answer leads; null: nowhere, to another region of S3, which is asked with a new signature, or from https to http. */
function targetOf({ statusCode, headers }: Response, from: URL): URL | null {
  const { location } = headers;
  if (statusCode < 300 || statusCode >= 400 || location === undefined || headers["x-amz-bucket-region"] !== undefined) return null;
  const to = URL.canParse(location, from.href) ? new URL(location, from) : null;
  return to?.protocol === "https:" || (to?.protocol === "http:" && from.protocol === "http:") ? to : null;
}

function redirected(request: Request, to: URL): Request {
  const headers: Record<string, string> = { host: to.host };
  for (const name of PUBLIC_HEADERS) if (request.headers[name] !== undefined) headers[name] = request.headers[name];
  const { protocol, hostname, pathname, search } = to;
  // the query as it came, because a signature covers it
  const place = { protocol, hostname, path: pathname + search, query: {}, headers };
  const copy = Object.assign(Object.create(Object.getPrototypeOf(request) as object) as Request, request, place);
  if (to.port === "") delete copy.port;
  else copy.port = Number(to.port);
  return copy;
}
