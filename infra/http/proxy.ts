import { request, type Agent, type RequestOptions } from "node:http";
import { Agent as SecureAgent } from "node:https";
import type { Duplex } from "node:stream";
import { connect } from "node:tls";
import { UserError } from "../../core/errors.js";

/** The proxies that HTTPS_PROXY, HTTP_PROXY and NO_PROXY name; null: no proxy. Node's own clients ignore these variables. */
export interface ProxySettings {
  readonly https: string | null;
  readonly http: string | null;
  /** comma-separated hosts that are asked directly, subdomains included; "*": all */
  readonly except: string;
}

/** How a request is sent through a proxy. */
export interface Proxied {
  readonly options: RequestOptions & Pick<Partial<TunnelOptions>, "until">;
  /** true: the proxy is asked for the whole address; false: it opens a tunnel */
  readonly plain: boolean;
  /** for the proxy */
  readonly headers: Readonly<Record<string, string>>;
}

const tunnels = new Map<string, Agent>();

/** How a request to `url` is sent through the proxy that is set for it, until `signal` aborts; null: directly. Throws UserError if the proxy's address is not valid. */
export function throughProxy(url: URL, settings: ProxySettings, signal: AbortSignal): Proxied | null {
  const secure = url.protocol === "https:";
  const address = secure ? settings.https : settings.http;
  if (address === null || isExcepted(url, settings.except)) return null;
  const proxy = parseProxy(address);
  const login = loginIn(proxy);
  const headers: Record<string, string> = login === null ? {} : { "proxy-authorization": login };
  if (!secure) return { options: { host: proxy.hostname, port: portOf(proxy) }, plain: true, headers };
  let agent = tunnels.get(address);
  if (agent === undefined) tunnels.set(address, (agent = tunnelAgent(proxy, headers)));
  return { options: { agent, until: signal }, plain: false, headers };
}

/** The authorization header's value for the name and password in a URL; null: the URL has no name and password. */
export function loginIn({ username, password }: URL): string | null {
  if (username === "" && password === "") return null;
  return `Basic ${Buffer.from(`${decoded(username)}:${decoded(password)}`).toString("base64")}`;
}

/** A password in an address may contain a % that is not part of an escape. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function parseProxy(address: string): URL {
  try {
    const url = new URL(/^[a-z][a-z0-9+.-]*:\/\//i.test(address) ? address : `http://${address}`);
    if (url.protocol === "http:") return url;
  } catch {
    // said below
  }
  throw new UserError("a proxy's address must be http://host:port: correct HTTPS_PROXY or HTTP_PROXY", {
    got: address.replace(/\/\/.*@/, "//…@"),
  });
}

function portOf(proxy: URL): number {
  return proxy.port === "" ? 80 : Number(proxy.port);
}

function isExcepted({ hostname, host }: URL, except: string): boolean {
  return except.split(",").some((entry) => {
    const name = entry.trim().replace(/^\*?\./, "");
    return name === "*" || (name !== "" && (hostname === name || host === name || hostname.endsWith(`.${name}`)));
  });
}

/** TLS inside tunnels that the proxy opens on CONNECT. */
function tunnelAgent(proxy: URL, headers: Readonly<Record<string, string>>): Agent {
  const agent = new SecureAgent({ keepAlive: true });
  const open = ({ host, port, servername, until }: TunnelOptions, opened: (error: Error | null, stream?: Duplex) => void): undefined => {
    const to = `${host}:${port}`;
    const asked = request({
      host: proxy.hostname,
      port: portOf(proxy),
      method: "CONNECT",
      path: to,
      headers: { host: to, ...headers },
      agent: false,
      signal: until,
    });
    asked.on("connect", (answer, socket) => {
      if (answer.statusCode === 200) return opened(null, connect({ socket, servername: servername ?? host }));
      socket.destroy();
      opened(new Error(`the proxy ${proxy.host} answered ${answer.statusCode} to CONNECT ${to}`));
    });
    asked.on("error", (error) => opened(new Error(`the proxy ${proxy.host} cannot be reached: ${error.message}`))).end();
  };
  // the agent hands sockets on when they are there; its types know only the other way
  return Object.assign(agent, { createConnection: open as never });
}

interface TunnelOptions {
  readonly host: string;
  readonly port: number;
  readonly servername?: string;
  /** ends the wait for the proxy, because agents don't get the request's own signal */
  readonly until: AbortSignal;
}
