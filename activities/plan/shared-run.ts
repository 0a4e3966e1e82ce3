import type { RunConfig } from "../../core/config/schema.js";
import { UserError } from "../../core/errors.js";
import type { TrainSettings } from "../../engines/engine.js";
import { isLoopback } from "../../infra/process/own-address.js";
import type { GpuWorker } from "../../workflows/contract.js";

/** What planning asks about a run whose machines share a store. */
export interface SharedPlace {
  /** The workers of all machines that the run would get if they were free. */
  workers(train: TrainSettings): Promise<readonly GpuWorker[]>;
  /** Throws UserError if objects cannot be written there. A sentence if the server there checks less than others. */
  checkStore(uri: string, signal: AbortSignal): Promise<string | undefined>;
  /** The address of a store's server if no other machine reaches it under this address; null: others may reach it. */
  serverHere(uri: string): string | null;
}

/** Checks the store of training that a planned config names; resolves to what is worth knowing. Throws UserError. */
export async function checkSharedStore(place: SharedPlace, { train, publish }: RunConfig, signal: AbortSignal): Promise<string[]> {
  const store = train.workers.store!;
  const notes = [`the machines that train share inputs, commit log and checkpoints in ${store}`];
  if (publish.lifecycle.expireAfterDays !== null && `${store}/`.startsWith(`${publish.target}/`))
    throw new UserError(
      "publish.lifecycle.expireAfterDays would remove what training shares below publish.target: set train.workers.store to another place",
      { store, target: publish.target },
    );
  if (store.startsWith("file:")) notes.push(`${store} has to be a disk that all these machines share`);
  const note = await place.checkStore(store, signal);
  return note === undefined ? notes : [...notes, note];
}

/** Checks that machines reach each other and the store, as far as this one can know; returns what is worth knowing. Throws UserError. */
export function checkReach(
  place: Pick<SharedPlace, "serverHere">,
  { train }: RunConfig,
  host: string,
  workers: readonly GpuWorker[],
): string[] {
  const { hosts, store } = train.workers;
  const addresses = new Map(workers.map((worker) => [worker.host, worker.address!]));
  const [here, elsewhere] = [[...addresses].filter(([, each]) => isLoopback(each)), [...addresses].filter(([, each]) => !isLoopback(each))];
  const names = here.map(([name]) => name).join(", ");
  if (here.length > 0 && elsewhere.length > 0)
    throw new UserError("other machines cannot reach these under their address: set ROSLIN_ADDRESS on them, and start roslin up again", {
      machines: names,
      address: here[0]![1],
    });
  const notes: string[] = [];
  for (const name of addresses.keys()) {
    const known = [...new Set(workers.filter((worker) => worker.host === name).map(({ address }) => address!))];
    if (known.length > 1)
      notes.push(`${name} has the addresses ${known.join(" and ")}: if these are two machines, set ROSLIN_HOST on one of them`);
  }
  if (here.length > 1) notes.push(`${names} have the address ${here[0]![1]}: they reach each other only if they are one machine`);
  const server = place.serverHere(store!);
  const others = elsewhere.filter(([name]) => name !== host);
  if (server !== null && others.length > 0)
    throw new UserError(
      "other machines cannot reach the S3 server of train.workers.store: set ROSLIN_S3=external and a server that all reach",
      {
        server,
        machines: others.map(([name]) => name).join(", "),
      },
    );
  if (server !== null) notes.push(`only this machine reaches the S3 server at ${server}: no other one can train this run`);
  if (addresses.size < hosts)
    notes.push(`GPU workers of ${addresses.size} machine${addresses.size === 1 ? "" : "s"} are there; training takes ${hosts}`);
  return notes;
}
