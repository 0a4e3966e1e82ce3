import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { httpStatus, type Service } from "./service.js";

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

/** SeaweedFS on the loopback interface, keeping its data in `<home>/s3`, with the bucket made if it is missing. */
export function s3Server(options: {
  readonly binary: string;
  readonly home: string;
  readonly bucket: string;
  readonly ports: { readonly s3: number; readonly master: number; readonly filer: number; readonly volume: number; readonly admin: number };
  readonly variables: Readonly<Record<string, string | undefined>>;
}): S3Server {
  const { binary, home, ports } = options;
  const data = join(home, "s3");
  mkdirSync(data, { recursive: true });
  const keys = localKeys(join(home, "s3-keys.json"));
  const access = { endpoint: `http://127.0.0.1:${ports.s3}`, region: "us-east-1", ...keys };
  const bucket = `http://127.0.0.1:${ports.filer}/buckets/${options.bucket}?metadata=true`;
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
        ...["-admin.ui=false", "-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.autoCreateBucket=false"],
        ...["-master.telemetry=false", "-volume.preStopSeconds=0"],
      ],
      variables: {
        ...options.variables,
        // without keys anyone on the machine could write; without limits it takes 2 GB
        AWS_ACCESS_KEY_ID: keys.accessKeyId,
        AWS_SECRET_ACCESS_KEY: keys.secretAccessKey,
        GOMEMLIMIT: "300MiB",
        GOGC: "50",
      },
      log: join(home, "logs", "s3.log"),
      // its admin part sometimes hangs for ten seconds when it stops; what it has acknowledged survives a kill
      graceMs: 3000,
      // if one of them is taken, it would silently use another
      ports: Object.values(ports),
      // it checks signatures once it refuses a request without one; the file server behind it needs no signature, and knows
      // whether the bucket is there; stored objects can be read once the master knows of the volumes
      ready: async () =>
        (await httpStatus(access.endpoint)) === 403 && (await httpStatus(bucket)) === 200 && (await hasVolumes(ports.master)),
      tidy: async () => {
        for (const socket of sockets) rmSync(socket, { force: true });
        // its own record of flags would override these
        rmSync(join(data, "mini.options"), { force: true });
      },
    },
  };
}

/** Whether SeaweedFS' master has heard of a server with volumes. */
async function hasVolumes(master: number): Promise<boolean> {
  try {
    const response = await fetch(`http://127.0.0.1:${master}/dir/status`, { signal: AbortSignal.timeout(5000) });
    const { Topology } = (await response.json()) as { readonly Topology: { readonly Max: number } };
    return Topology.Max > 0;
  } catch {
    return false;
  }
}

/** Keys that only this home's servers and workers know; made once, readable only by their owner. */
function localKeys(file: string): { readonly accessKeyId: string; readonly secretAccessKey: string } {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as { accessKeyId: string; secretAccessKey: string };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  const keys = { accessKeyId: randomBytes(10).toString("hex"), secretAccessKey: randomBytes(20).toString("hex") };
  const temporary = `${file}.${process.pid}.tmp`;
  writeFileSync(temporary, JSON.stringify(keys), { mode: 0o600 });
  renameSync(temporary, file);
  return keys;
}
