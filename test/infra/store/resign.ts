import { createHash, createHmac } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";

/** The headers of a call without its session token, which SeaweedFS knows nothing of, and signed anew. */
export function withoutToken(method: string, path: string, headers: IncomingHttpHeaders, secretAccessKey: string): IncomingHttpHeaders {
  const { "x-amz-security-token": _token, ...others } = headers;
  return signedAnew(method, path, others, secretAccessKey);
}

/** The headers of a call of which some were taken away, signed anew. */
export function signedAnew(method: string, path: string, headers: IncomingHttpHeaders, secretAccessKey: string): IncomingHttpHeaders {
  const { authorization = "", ...others } = headers;
  const [, scope, names] = /Credential=[^/]+\/([^,]+), ?SignedHeaders=([^,]+)/.exec(authorization) ?? [];
  const signed = names!.split(";").filter((name) => others[name] !== undefined);
  const [pathname, query = ""] = path.split("?");
  const canonical = [
    method,
    pathname!,
    query
      .split("&")
      .filter(Boolean)
      .map((pair) => (pair.includes("=") ? pair : `${pair}=`))
      .sort()
      .join("&"),
    ...signed.map((name) => `${name}:${String(others[name]).trim()}`),
    "",
    signed.join(";"),
    String(others["x-amz-content-sha256"]),
  ].join("\n");
  const hash = createHash("sha256").update(canonical).digest("hex");
  const text = ["AWS4-HMAC-SHA256", String(others["x-amz-date"]), scope, hash].join("\n");
  const key = scope!
    .split("/")
    .reduce<string | Buffer>((last, part) => createHmac("sha256", last).update(part).digest(), `AWS4${secretAccessKey}`);
  const signature = createHmac("sha256", key).update(text).digest("hex");
  const credential = /Credential=[^,]+/.exec(authorization)![0];
  return { ...others, authorization: `AWS4-HMAC-SHA256 ${credential}, SignedHeaders=${signed.join(";")}, Signature=${signature}` };
}
