import { NativeConnection, Worker } from "@temporalio/worker";
import { inActivity } from "../../workers/context.js";

/** A GPU worker whose work neither moves nor stops: `node hung-child.js ADDRESS QUEUE`. */
const [address, taskQueue] = process.argv.slice(2);
const worker = await Worker.create({
  connection: await NativeConnection.connect({ address: address! }),
  taskQueue: taskQueue!,
  activities: {
    trainRank: () => inActivity(() => new Promise<never>(() => undefined), { stallMs: 2000, settleMs: 2000 }),
    ping: async () => undefined,
  },
});
await worker.run();
