import { joinGroup } from "../../../infra/process/group.js";
import { socketPlace } from "../../../infra/process/meeting-place.js";

/** `group-member.js PATH WORKER WORKERS`: a worker, for a test that kills one of them; tells its parent when it has joined, and when it hears of a death. */
const [path, worker, workers] = process.argv.slice(2);
await joinGroup(
  { place: socketPlace(path!), worker: Number(worker), workers: Number(workers), timeoutMs: 20_000, signal: new AbortController().signal },
  { toCoordinator: () => undefined, toAll: () => process.send!("heard"), lost: () => process.exit(0) },
);
process.send!("joined");
