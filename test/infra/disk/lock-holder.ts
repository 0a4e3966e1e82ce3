import { lock } from "../../../infra/disk/lock.js";

/** Holds a lock until it is killed. */
await lock(process.argv[2]!, new AbortController().signal, () => undefined);
process.send!("held");
setInterval(() => undefined, 1000);
