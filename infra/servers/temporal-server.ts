import { join } from "node:path";
import { makePrivateDirectory } from "../disk/private.js";
import { httpStatus, type Service } from "./service.js";

/** The local Temporal server: how to start it, and how to reach it. */
export interface TemporalServer {
  readonly service: Service;
  /** host:port of the gRPC frontend */
  readonly address: string;
  readonly uiAddress: string;
}

/** Temporal's dev server with its Web UI, keeping its data in `<home>/temporal/temporal.db`. */
export function temporalServer(options: {
  readonly binary: string;
  readonly home: string;
  readonly ports: { readonly temporal: number; readonly ui: number };
  /** registered with the server, name to type: "Keyword", "Int", … */
  readonly searchAttributes: Readonly<Record<string, string>>;
  readonly variables: Readonly<Record<string, string | undefined>>;
  /** hears of permissions that were corrected */
  readonly say: (line: string) => void;
}): TemporalServer {
  const { binary, home, ports } = options;
  const data = join(home, "temporal");
  makePrivateDirectory(data, options.say);
  const attributes = Object.entries(options.searchAttributes).flatMap(([name, type]) => ["--search-attribute", `${name}=${type}`]);
  const uiAddress = `http://127.0.0.1:${ports.ui}`;
  return {
    address: `127.0.0.1:${ports.temporal}`,
    uiAddress,
    service: {
      name: "temporal",
      command: binary,
      args: [
        ...["server", "start-dev", "--ip", "127.0.0.1", "--port", `${ports.temporal}`, "--ui-port", `${ports.ui}`],
        ...["--db-filename", join(data, "temporal.db"), "--log-level", "warn", ...attributes],
      ],
      variables: options.variables,
      log: join(home, "logs", "temporal.log"),
      graceMs: 5000,
      ports: Object.values(ports),
      private: true,
      // through the UI's server: then the frontend, its namespace and the UI are all there
      ready: async () => (await httpStatus(`${uiAddress}/api/v1/namespaces/default`)) === 200,
    },
  };
}
