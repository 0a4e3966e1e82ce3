import { createSocket } from "node:dgram";
import { once } from "node:events";
import { lookup } from "node:dns/promises";
import { networkInterfaces } from "node:os";
import { UserError } from "../../core/errors.js";

/** What this machine calls itself when nothing better is known. */
const LOOPBACK = "127.0.0.1";

/** How long a name may take to be resolved, in ms: a worker that starts does not wait for a name server that is silent. */
const LOOKUP_MS = 5000;

/**
 * The address of this machine on the way to `server` ("host:port", as for gRPC): the one that the system would send from,
 * which machines that reach the same server reach, too. Nothing is sent. 127.0.0.1 if the server is on this machine, or if
 * its name has no address.
 */
export async function ownAddress(server: string): Promise<string> {
  const { host, port } = partsOf(server);
  const late = AbortSignal.timeout(LOOKUP_MS);
  try {
    const found = await Promise.race([lookup(host), once(late, "abort").then(() => null)]);
    return found === null ? LOOPBACK : await sendingAddress(found.address, found.family, port);
  } catch {
    return LOOPBACK;
  }
}

/** The IP address that a name, or an address, stands for. Throws UserError unless a network interface of this machine has it. */
export async function interfaceAddress(name: string): Promise<string> {
  const address = await lookup(name).then(
    (found) => found.address,
    () => null,
  );
  const own = Object.values(networkInterfaces()).flatMap((entries) => (entries ?? []).map((entry) => entry.address));
  if (address !== null && own.includes(address)) return address;
  throw new UserError("no network interface of this machine has the address that ROSLIN_ADDRESS names", {
    got: name,
    ...(address !== name && { "which is": address ?? "unknown to the name server" }),
    expected: own.join(" or "),
  });
}

/** Whether an address, or a URL's host, is reached by this machine alone. */
export function isLoopback(address: string): boolean {
  return address === "localhost" || address === "::1" || address === "[::1]" || /^(::ffff:)?127\./.test(address);
}

async function sendingAddress(address: string, family: number, port: number): Promise<string> {
  const socket = createSocket(family === 6 ? "udp6" : "udp4");
  try {
    // for UDP this only asks the system for the route
    socket.connect(port, address);
    await once(socket, "connect");
    return socket.address().address;
  } finally {
    socket.close();
  }
}

/** "host:port" or "[::1]:port", perhaps after "http://". */
function partsOf(server: string): { host: string; port: number } {
  const [, bracketed, plain, port = "7233"] = /^(?:\w+:\/+)?(?:\[([^\]]*)\]|([^:/]*))(?::(\d+))?/.exec(server) ?? [];
  return { host: bracketed ?? plain ?? server, port: Number(port) };
}
