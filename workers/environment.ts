import { existsSync, readFileSync } from "node:fs";
import { isIP } from "node:net";
import { homedir, hostname } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { UserError } from "../core/errors.js";
import type { ProxySettings } from "../infra/http/proxy.js";

/** The variable by which `up` tells workers where pages about runs are served. */
export const REPORTS_VARIABLE = "ROSLIN_REPORTS";

/** What commands and workers know of the environment. Their entries read it; what they call is handed it. */
export interface Environment {
  /** the checkout's root, absolute: where package.json lies */
  readonly checkout: string;
  /** ROSLIN_HOME, absolute: everything local lies below it */
  readonly home: string;
  /** this machine's name among those that share a Temporal server: ROSLIN_HOST, or what the system said at the first `up` */
  readonly host: string;
  /** ROSLIN_ADDRESS, the name or IP address at which other machines reach this one; null: the one by which it reaches Temporal */
  readonly address: string | null;
  /** where fetched servers are kept */
  readonly tools: string;
  /** "external": the AWS provider chain and AWS_ENDPOINT_URL_S3; "local": the server that `up` starts */
  readonly s3: "local" | "external";
  /** ROSLIN_BUCKET: the bucket of the default publish target */
  readonly bucket: string;
  readonly hub: HubSettings;
  /** ROSLIN_REPORTS: where pages about runs are served; null: nowhere */
  readonly reports: string | null;
  /** ROSLIN_METRICS_COMMAND: a shell's line for a program that is told each training step's figures; null: none */
  readonly metricsCommand: string | null;
  /** true when TEMPORAL_ADDRESS or a profile names a server: then none is started */
  readonly externalTemporal: boolean;
  /** the whole environment, for child processes and for the SDKs' own loaders */
  readonly variables: Readonly<Record<string, string | undefined>>;
}

/** As Python's hub client reads them. */
export interface HubSettings {
  readonly endpoint: string;
  readonly token: string | null;
  /** where models and datasets are cached, as `<HF_HOME>/hub` */
  readonly cacheDirectory: string;
  /** HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE: only what is cached may be used */
  readonly offline: boolean;
  /** HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, in either case */
  readonly proxy: ProxySettings;
}

/** Reads the variables; `checkout` is where this package lies. Throws UserError for a value that means nothing. */
export function readEnvironment(variables: Readonly<Record<string, string | undefined>>, checkout: string): Environment {
  const set = (name: string): string | undefined => (variables[name] === "" ? undefined : variables[name]);
  const named = set("ROSLIN_HOME");
  const home = named === undefined ? join(checkout, ".roslin") : resolve(named);
  const s3 = set("ROSLIN_S3") ?? "local";
  if (s3 !== "local" && s3 !== "external") throw new UserError("ROSLIN_S3 must be local or external", { got: s3 });
  return {
    checkout,
    home,
    host: set("ROSLIN_HOST") ?? keptHost(home) ?? hostname(),
    address: namedAddress(set("ROSLIN_ADDRESS")),
    tools: join(home, "tools"),
    s3,
    bucket: set("ROSLIN_BUCKET") ?? "roslin",
    hub: hubSettings(variables, set),
    reports: set(REPORTS_VARIABLE) ?? null,
    metricsCommand: set("ROSLIN_METRICS_COMMAND") ?? null,
    externalTemporal: ["TEMPORAL_ADDRESS", "TEMPORAL_PROFILE", "TEMPORAL_CONFIG_FILE"].some((name) => set(name) !== undefined),
    variables,
  };
}

function namedAddress(address: string | undefined): string | null {
  if (address === undefined) return null;
  if (isIP(address) === 0 && !/^[\w-]+(\.[\w-]+)*\.?$/.test(address))
    throw new UserError("ROSLIN_ADDRESS must be a host name or an IP address, without a port", { got: address });
  return address;
}

/** Where `up` keeps a home's host: laptops and containers change their names, and runs under way wait for the one they know. */
export const hostFile = (home: string): string => join(home, "host");

function keptHost(home: string): string | null {
  return existsSync(hostFile(home)) ? readFileSync(hostFile(home), "utf8") : null;
}

function hubSettings(variables: Environment["variables"], set: (name: string) => string | undefined): HubSettings {
  const path = (name: string, otherwise: string): string => resolve(expanded(set(name) ?? otherwise, variables));
  const hubHome = path("HF_HOME", join(set("XDG_CACHE_HOME") ?? join("~", ".cache"), "huggingface"));
  const tokenFile = path("HF_TOKEN_PATH", join(hubHome, "token"));
  return {
    endpoint: (set("HF_ENDPOINT") ?? "https://huggingface.co").replace(/\/+$/, ""),
    // read when the hub is asked: a file that cannot be read hinders nothing else
    get token() {
      return bareToken(set("HF_TOKEN") ?? set("HUGGING_FACE_HUB_TOKEN") ?? "") ?? bareToken(storedToken(tokenFile));
    },
    cacheDirectory: path("HF_HUB_CACHE", set("HUGGINGFACE_HUB_CACHE") ?? join(hubHome, "hub")),
    offline: /^(1|on|yes|true)$/i.test(set("HF_HUB_OFFLINE") ?? set("TRANSFORMERS_OFFLINE") ?? ""),
    proxy: proxySettings(set),
  };
}

/** A path with `~`, `$NAME` and `${NAME}` put in; names that are not set stay. */
function expanded(path: string, variables: Environment["variables"]): string {
  return path
    .replace(/^~(?=\/|$)/, () => variables["HOME"] ?? homedir())
    .replace(/\$(?:(\w+)|\{([^}]*)\})/g, (all, plain?: string, braced?: string) => variables[plain ?? braced ?? ""] ?? all);
}

function storedToken(file: string): string {
  if (!existsSync(file)) return "";
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new UserError(
      "the hub's token cannot be read: correct the file, or set HF_TOKEN, or HF_TOKEN_PATH to another one",
      { file },
      { cause: error },
    );
  }
}

/** A token without what an editor or a paste adds; null where nothing is left. */
function bareToken(text: string): string | null {
  return text.replace(/[\r\n]/g, "").trim() || null;
}

function proxySettings(set: (name: string) => string | undefined): ProxySettings {
  const either = (name: string): string | undefined => set(name.toLowerCase()) ?? set(name);
  const all = either("ALL_PROXY") ?? null;
  return { https: either("HTTPS_PROXY") ?? all, http: either("HTTP_PROXY") ?? all, except: either("NO_PROXY") ?? "" };
}

// set when this file is imported: otherwise the AWS SDK tells every user of Node 20, at every start, that it will need Node 22 later
process.env["AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED"] ??= "true";

/** The checkout's root: two levels above the compiled `dist/workers`. */
export const CHECKOUT: string = resolve(dirname(fileURLToPath(import.meta.url)), "..", "..");
