import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { CHECKOUT } from "../../workers/environment.js";
import { FINETUNE, LEASE_ID, QUERIES, TASK_QUEUE, type FinetuneResult, type LeaseState, type RunProgress } from "../../workflows/contract.js";
import { until } from "../workers/machine.js";
import { startTwoMachines, type TwoMachines } from "./two-machines.js";

/** DeepSpeed's ranks on two machines that share nothing but Temporal and a bucket. */

let machines: TwoMachines;
before(async () => {
  machines = await startTwoMachines(["dolly", "polly"]);
});
after(() => machines.stop());
