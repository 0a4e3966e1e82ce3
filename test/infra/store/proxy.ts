import { createServer, request, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { PROBE } from "../../../infra/store/probe.js";

/** A call to S3 as it passes by. */
export interface S3Call {
  readonly method: string;
  /** "" for the bucket itself */
  readonly key: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  /** of a file that is uploaded; null: it is none, or one of the object that is tried before */
  readonly part: string | null;
  /** the right of an IAM policy that it needs */
  readonly right: string;
}

/** An answer in the server's place. */
export interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** XML of the error beside its code and message */
  readonly more?: string;
}

/** What Amazon's reference of S3's actions says of each call that Roslin makes. */
function rightOf(method: string, key: string, query: URLSearchParams, headers: IncomingHttpHeaders): string {
  if (query.has("lifecycle")) return method === "GET" ? "s3:GetLifecycleConfiguration" : "s3:PutLifecycleConfiguration";
  if (query.has("tagging")) return "s3:GetObjectTagging";
  if (key === "") return query.has("uploads") ? "s3:ListBucketMultipartUploads" : "s3:ListBucket";
  if (method === "GET" || method === "HEAD") return query.has("uploadId") ? "s3:ListMultipartUploadParts" : "s3:GetObject";
  if (method === "DELETE") return query.has("uploadId") ? "s3:AbortMultipartUpload" : "s3:DeleteObject";
  return headers["x-amz-tagging"] === undefined ? "s3:PutObject" : "s3:PutObjectTagging";
}

/** Stands before an S3 server, writes down every call, and lets `refuse` answer some; `answered` sees a status before the client does, and may change it; `headersOf` are sent on. */
export async function startProxy(
  endpoint: string,
  refuse: (call: S3Call) => Refusal | null | Promise<Refusal | null>,
  answered: (call: S3Call, status: number) => Refusal | null = () => null,
  headersOf: (method: string, path: string, headers: IncomingHttpHeaders) => IncomingHttpHeaders = (_method, _path, headers) => headers,
): Promise<{ readonly endpoint: string; readonly calls: S3Call[]; stop(): Promise<void> }> {
  const calls: S3Call[] = [];
  const { hostname, port } = new URL(endpoint);
  const server = createServer((incoming, outgoing) => {
    const url = new URL(incoming.url!, endpoint);
    const [, , ...rest] = url.pathname.split("/");
    const { method = "GET", headers } = incoming;
    const key = rest.map(decodeURIComponent).join("/");
    const part = key.endsWith(PROBE) ? null : url.searchParams.get("partNumber");
    const call: S3Call = { method, key, query: url.searchParams, headers, part, right: rightOf(method, key, url.searchParams, headers) };
    calls.push(call);
    const answer = ({ status, code, headers: other = {}, more = "" }: Refusal): void => {
      outgoing.writeHead(status, { "content-type": "application/xml", ...other });
      const text = `<?xml version="1.0"?><Error><Code>${code}</Code><Message>said by the test</Message>${more}</Error>`;
      outgoing.end(method === "HEAD" ? "" : text);
    };
    const pass = (): void => {
      const onward = request(
        { hostname, port, method, path: incoming.url, headers: headersOf(method, incoming.url!, headers) },
        (answerOfServer) => {
          const changed = answered(call, answerOfServer.statusCode!);
          if (changed !== null) {
            answerOfServer.resume();
            return answer(changed);
          }
          outgoing.writeHead(answerOfServer.statusCode!, answerOfServer.headers);
          answerOfServer.pipe(outgoing);
        },
      );
      onward.on("error", () => outgoing.destroy());
      incoming.on("error", () => onward.destroy()).pipe(onward);
    };
    void (async () => {
      const refusal = await refuse(call);
      if (refusal === null) pass();
      else incoming.resume().on("end", () => answer(refusal));
    })();
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
