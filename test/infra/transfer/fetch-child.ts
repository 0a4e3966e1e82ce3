import { messageOf } from "../../../core/errors.js";
import { hubSource } from "../../../infra/sources/hub/access.js";
import { fetchAll } from "../../../infra/transfer/fetch.js";

/** `node fetch-child.js URL BLOB BYTES SHA256`: fetches a file, and prints its sha256 or the error. Which authorities a process trusts it is told when it starts. */
const [address, blob, bytes, hex] = process.argv.slice(2) as [string, string, string, string];
const access = { endpoint: new URL(address).origin, token: null, timing: { stallMs: 5000, retryMs: 1 } };
const source = hubSource({ access, url: address });
const events = { signal: new AbortController().signal, onBytes: () => undefined, onNote: () => undefined };
try {
  const [cached] = await fetchAll([{ name: "file", blob, bytes: Number(bytes), source, digest: { kind: "sha256", hex } }], events);
  console.log(cached!.sha256);
} catch (error) {
  console.log(messageOf(error));
}
