import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import type { AddressInfo, NetConnectOpts, Server } from "node:net";
import { withPrivateFiles } from "../disk/private.js";

/** Where the coordinator of an attempt is found. */
export interface Meeting {
  readonly to: NetConnectOpts;
  /** what a worker has to say to be let in; "": nothing, because files' permissions keep others out */
  readonly secret: string;
}

/** How the workers of one attempt find their coordinator. */
export interface MeetingPlace {
  /** for people */
  readonly name: string;
  /** milliseconds between two looks */
  readonly pauseMs: number;
  /** The coordinator: lets a server listen, and makes known where. Resolves to the secret. */
  open(server: Server): Promise<string>;
  /** A worker: where to connect to; null: it is not known yet. */
  find(): Promise<Meeting | null>;
  /** Removes what was made known: nobody else comes. */
  close(): void;
}

/** A Unix socket, for workers on one machine. */
export function socketPlace(path: string): MeetingPlace {
  return {
    name: path,
    pauseMs: 20,
    open: async (server) => {
      await listening(server, () => withPrivateFiles(() => server.listen(path)));
      return "";
    },
    find: () => Promise.resolve({ to: { path }, secret: "" }),
    close: () => rmSync(path, { force: true }),
  };
}

/** Where the coordinator leaves word, and all workers read it. */
export interface Board {
  /** for people */
  readonly name: string;
  /** null: nobody has left word */
  read(): Promise<Uint8Array | null>;
  write(bytes: Uint8Array): Promise<void>;
  remove(): Promise<void>;
}

/**
 * A free TCP port at this machine's address, for workers on several machines: address, port and a secret stand on a board
 * that all of them read. `address` counts for the coordinator alone.
 */
export function networkPlace(address: string, board: Board): MeetingPlace {
  return {
    name: board.name,
    pauseMs: 200,
    async open(server) {
      await listening(server, () => server.listen(0, address));
      const secret = randomBytes(16).toString("hex");
      const to = { host: address, port: (server.address() as AddressInfo).port };
      await board.write(Buffer.from(JSON.stringify({ to, secret } satisfies Meeting)));
      return secret;
    },
    async find() {
      const bytes = await board.read();
      return bytes === null ? null : (JSON.parse(Buffer.from(bytes).toString("utf8")) as Meeting);
    },
    close: () => void board.remove().catch(() => undefined),
  };
}

function listening(server: Server, listen: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject).once("listening", resolve);
    listen();
  });
}
