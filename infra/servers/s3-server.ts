import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { makePrivateDirectory, readPrivate, writePrivate } from "../disk/private.js";
import { s3Store } from "../store/s3-store.js";
import { selfSigned } from "./certificate.js";
import { ANSWER_MS, httpStatus, type Service } from "./service.js";

/** How to reach the local S3 server. */
export interface S3Access {
  readonly endpoint: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** The local S3 server: how to start it, and how to reach it. */
export interface S3Server {
  readonly service: Service;
  readonly access: S3Access;
}

/** The parts of SeaweedFS that call each other, and its own client. */
const PARTS = ["MASTER", "VOLUME", "FILER", "S3", "ADMIN", "WORKER", "CLIENT"];

/** Milliseconds in which the server has to store an object before it counts as ready; one with a full disk still reads. */
const STORES_MS = 15_000;

/**
 * SeaweedFS on the loopback interface, keeping its data in `<home>/s3`, with the bucket made if it is missing. It answers
 * nobody without the keys: the port of S3 checks signatures, and the ports of its parts, which must be open, take only
 * callers that have the certificate or a token. Both are new at each start. `say` hears of permissions that were corrected.
 */
export function s3Server(options: {
  readonly binary: string;
  readonly home: string;
  readonly bucket: string;
  readonly ports: { readonly s3: number; readonly master: number; readonly filer: number; readonly volume: number; readonly admin: number };
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly say: (line: string) => void;
}): S3Server {
  const { binary, home, ports, say } = options;
  const data = join(home, "s3");
  makePrivateDirectory(data, say);
  const keys = localKeys(join(home, "s3-keys.json"), say);
  const access = { endpoint: `http://127.0.0.1:${ports.s3}`, region: "us-east-1", ...keys };
  const certificate = join(home, "s3-tls.pem");
  writePrivate(certificate, selfSigned("roslin"));
  let first = 0;
  const sockets = Object.entries(ports).flatMap(([name, port]) => [
    `/tmp/seaweedfs-${name}-${port}.sock`,
    `/tmp/seaweedfs-${name}-grpc-${port + 10_000}.sock`,
  ]);
  return {
    access,
    service: {
      name: "s3",
      command: binary,
      args: [
        ...["-logtostderr=true", "mini", `-dir=${data}`, "-ip=127.0.0.1", "-ip.bind=127.0.0.1", `-bucket=${options.bucket}`],
        ...[
          `-s3.port=${ports.s3}`,
          `-master.port=${ports.master}`,
          `-filer.port=${ports.filer}`,
          `-volume.port=${ports.volume}`,
          `-admin.port=${ports.admin}`,
        ],
        // its parts call each other by gRPC: without this flag master and file server hand out and take objects by HTTP, too
        ...[
          "-disableHttp=true",
          "-s3.iam=false",
          "-admin.ui=false",
          "-webdav=false",
          "-s3.port.iceberg=0",
          "-s3.port.lance=0",
          "-s3.autoCreateBucket=false",
        ],
        ...["-master.telemetry=false", "-volume.preStopSeconds=0"],
      ],
      variables: {
        ...options.variables,
        // without keys anyone on the machine could write; without limits it takes 2 GB
        AWS_ACCESS_KEY_ID: keys.accessKeyId,
        AWS_SECRET_ACCESS_KEY: keys.secretAccessKey,
        ...partsVariables(certificate),
        GOMEMLIMIT: "300MiB",
        GOGC: "50",
      },
      log: join(home, "logs", "s3.log"),
      // its admin part sometimes hangs for ten seconds when it stops; what it has acknowledged survives a kill
      graceMs: 3000,
      // if one of them is taken, it would silently use another
      ports: Object.values(ports),
      private: true,
      // it checks signatures once it refuses a request without one; stored objects can be read once it can store one
      ready: async () => {
        first ||= Date.now();
        return (await httpStatus(access.endpoint)) === 403 && (await stores(access, options.bucket, Date.now() - first > STORES_MS));
      },
      tidy: async () => {
        for (const socket of sockets) rmSync(socket, { force: true });
        // its own record of flags would override these
        rmSync(join(data, "mini.options"), { force: true });
      },
    },
  };
}

/** What closes the ports of SeaweedFS' parts: gRPC asks for the certificate, volumes over HTTP for a token that only the parts can sign. */
function partsVariables(certificate: string): Record<string, string> {
  const tokens = ["JWT_SIGNING", "JWT_SIGNING_READ", "JWT_FILER_SIGNING", "JWT_FILER_SIGNING_READ"];
  return Object.fromEntries([
    ["WEED_GRPC_CA", certificate],
    ...PARTS.flatMap((part) => [
      [`WEED_GRPC_${part}_CERT`, certificate],
      [`WEED_GRPC_${part}_KEY`, certificate],
    ]),
    ...tokens.flatMap((name) => [
      [`WEED_${name}_KEY`, randomBytes(32).toString("hex")],
      // ten seconds by default: a machine that is busy, or was asleep, would refuse its own
      [`WEED_${name}_EXPIRES_AFTER_SECONDS`, "600"],
    ]),
  ]);
}

/** Whether the server has the bucket and stores an object in it; `lenient`: whether it has the bucket. */
async function stores({ endpoint, region, accessKeyId, secretAccessKey }: S3Access, bucket: string, lenient: boolean): Promise<boolean> {
  const settings = { endpoint, region, credentials: { accessKeyId, secretAccessKey } };
  const store = s3Store(bucket, "", settings, undefined, AbortSignal.timeout(ANSWER_MS));
  const key = ".roslin-ready";
  try {
    if (lenient) await store.list(key);
    else {
      await store.write(key, Buffer.from("ready"));
      await store.delete(key);
    }
    return true;
  } catch {
    return false;
  }
}

/** Keys that only this home's servers and workers know; made once, readable only by their owner. */
function localKeys(file: string, say: (line: string) => void): { readonly accessKeyId: string; readonly secretAccessKey: string } {
  const kept = readPrivate(file, say);
  if (kept !== null) return JSON.parse(kept) as { accessKeyId: string; secretAccessKey: string };
  const keys = { accessKeyId: randomBytes(10).toString("hex"), secretAccessKey: randomBytes(20).toString("hex") };
  writePrivate(file, JSON.stringify(keys));
  return keys;
}
