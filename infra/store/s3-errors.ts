import { CorruptError, ForbiddenError, UserError } from "../../core/errors.js";
import { isPassing } from "../http/retries.js";

/** A call in words, and the right of an IAM policy that it needs. */
export interface Call {
  readonly doing: string;
  readonly right: string;
}

/** What was asked where; `condition` is the header of a conditional write. */
interface Where {
  readonly bucket: string;
  readonly endpoint: string;
  readonly condition?: string;
}

/** The error for a failed S3 call, in one line that says what to do; a UserError if only the user can do it. */
export function s3Error(error: unknown, call: Call, where: Where, key?: string): Error {
  if (!(error instanceof Error)) return new Error(String(error));
  if (error.name === "AbortError" || error instanceof UserError || error instanceof CorruptError) return error;
  const { doing, right } = (error as { readonly during?: Call }).during ?? call;
  const code = codeOf(error);
  const { bucket, endpoint, condition } = where;
  const details = { bucket, key, endpoint, condition, code };
  if (code === "NoSuchBucket")
    return new UserError(
      `${doing} failed: there is no such bucket; create it, or name another by publish.target or ROSLIN_BUCKET`,
      details,
    );
  if (FORBIDDEN.has(code))
    return new ForbiddenError(right, `${doing} failed: the credentials may not do this; give them the right ${right}, see docs/s3.md`, {
      ...details,
      // Amazon's own message names the right and the resource, also those of another service
      said: said(error),
    });
  if (REFUSED.has(code))
    return new UserError(
      `${doing} failed: S3 refuses the credentials; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or the profile`,
      details,
    );
  if (EXPIRED.has(code))
    return new UserError(
      `${doing} failed: the credentials have expired; renew them and start again: what had arrived is not sent again`,
      details,
    );
  if (code === "CredentialsProviderError")
    return new UserError(
      `${doing} failed: there are no AWS credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile`,
      details,
    );
  if (code === "RequestTimeTooSkewed") return new UserError(`${doing} failed: the clock of this machine is wrong; set it`, details);
  const location = headerOf(error, "location");
  if (location !== undefined && String(statusOf(error)).startsWith("3"))
    return new UserError(`${doing} failed: the S3 endpoint leads elsewhere; set AWS_ENDPOINT_URL_S3 to where S3 itself answers`, {
      ...details,
      location,
    });
  if (WRONG_REGION.has(code) || error.message.includes("Region is missing"))
    return new UserError(`${doing} failed: the bucket is in another region than the one that was asked; set AWS_REGION`, details, {
      cause: error,
    });
  if (code === "InvalidBucketName") return new UserError(`${doing} failed: S3 does not allow this bucket name`, details);
  if (UNREACHABLE.has(code))
    return new Error(`${doing} failed: the S3 endpoint cannot be reached [endpoint=${where.endpoint}, code=${code}]`, { cause: error });
  if (statusOf(error) === 501) return new UserError(`${doing} failed: this S3 server does not support it; publish to another`, details);
  const status = statusOf(error) ?? 0;
  if (DAMAGED.has(code))
    return new CorruptError(`${doing} failed: the bytes that arrived have another SHA-256 than those that were sent`, details, {
      cause: error,
    });
  if (status >= 400 && !isPassing(status) && !PASSING.has(code))
    return new UserError(`${doing} failed: ${ADVICE[status] ?? REFUSES}`, {
      ...details,
      status: code === String(status) ? undefined : status,
      said: said(error),
    });
  const busy = isPassing(status) || PASSING.has(code) ? ": S3 cannot answer now; try again later, what had arrived is not sent again" : "";
  const at = Object.entries({ bucket, key, endpoint, code, status: status === 0 ? undefined : status });
  const pairs = at.flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]));
  return new Error(`${doing} failed${busy} [${pairs.join(", ")}]`, { cause: error });
}

/** Whether a server refuses a request because of its form, such as a header that the server doesn't know, and would refuse it again. */
export function refusesForm(error: unknown): boolean {
  if (!(error instanceof Error) || [EXPIRED, WRONG_REGION, PASSING].some((codes) => codes.has(codeOf(error)))) return false;
  return [400, 405, 411, 412, 415, 422, 501].includes(statusOf(error) ?? 0);
}

/** Whether there is no such object: some servers say so by a status alone. */
export function isMissing(error: unknown): boolean {
  return error instanceof Error && ["NoSuchKey", "404"].includes(codeOf(error));
}

/** For `catch`: notes which call an error came from, if the caller reports it for a larger call. */
export function during(call: Call): (error: Error) => never {
  return (error) => {
    throw Object.assign(error, { during: call });
  };
}

const FORBIDDEN = new Set(["AccessDenied", "Forbidden", "403"]);
const REFUSED = new Set(["InvalidAccessKeyId", "SignatureDoesNotMatch"]);
const EXPIRED = new Set(["ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired"]);
const WRONG_REGION = new Set(["PermanentRedirect", "AuthorizationHeaderMalformed", "301"]);
const DAMAGED = new Set(["BadDigest", "XAmzContentSHA256Mismatch"]);
/** Codes of refusals that don't last, whatever their status; another run removes uploads, or writes the same object. */
const PASSING = new Set([
  "RequestTimeout",
  "SlowDown",
  "RequestLimitExceeded",
  "Throttling",
  "ThrottlingException",
  "OperationAborted",
  "ConditionalRequestConflict",
  "NoSuchUpload",
]);
const REFUSES =
  "the server refuses the request, and would refuse it again; check that AWS_ENDPOINT_URL_S3 names an S3 server, and what it says";
/** What to do about a final answer, by its status. */
const ADVICE: Readonly<Record<number, string>> = {
  401: "the server does not accept the credentials; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or the profile",
  404: "there is nothing at this address; check the bucket, and AWS_ENDPOINT_URL_S3",
  405: "the server does not allow this; publish to another, or check that AWS_ENDPOINT_URL_S3 names an S3 server",
  409: "the bucket or the object is in a state that does not allow this; see what the server says",
  411: "the server, or a proxy before it, takes nothing without a length; connect to the S3 server directly",
  413: "the server, or a proxy before it, takes nothing so large; raise its limit",
  416: "the object has fewer bytes than it had; start again",
  451: "the server withholds this for legal reasons; ask its operator",
};
const UNREACHABLE = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ETIMEDOUT",
  "EPIPE",
  "TimeoutError",
]);

/** The service's code, the system's, or the HTTP status of an answer without a body (those of HEAD). */
function codeOf(error: Error): string {
  const { code } = error as NodeJS.ErrnoException;
  if (typeof code === "string" && UNREACHABLE.has(code)) return code;
  const status = statusOf(error);
  return /^(Error|Unknown|UnknownError|NotFound)$/.test(error.name) && status !== undefined ? String(status) : error.name;
}

/** The server's own message; null if the answer has no body. */
function said({ message }: Error): string | undefined {
  return message === "" || /^Unknown(Error)?$/.test(message) ? undefined : message;
}

/** A header of the answer to a failed call, if there was an answer. */
export function headerOf(error: unknown, name: string): string | undefined {
  return (error as { readonly $response?: { readonly headers?: Readonly<Record<string, string>> } } | null)?.$response?.headers?.[name];
}

/** The HTTP status of a failed call, if there was an answer. */
export function statusOf(error: unknown): number | undefined {
  return (error as { readonly $metadata?: { readonly httpStatusCode?: number } } | null)?.$metadata?.httpStatusCode;
}
