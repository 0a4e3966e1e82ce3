import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { NativeConnection } from "@temporalio/worker";
import { parseGpus } from "../../infra/gpu/nvidia-smi.js";
import { CHECKOUT, readEnvironment } from "../../workers/environment.js";
import { planDependencies } from "../../workers/place.js";
import { makeStages } from "../../workers/stages.js";
import { TABLES } from "../infra/gpu/fake-nvidia-smi.js";
import { startMachine, until, type Machine } from "./machine.js";

const gpus = parseGpus(TABLES.two)!;
let machine: Machine;
before(async () => {
  machine = await startMachine(gpus);
});
after(() => machine?.stop());

test("workers register with the GPU that they were given, and plan knows each one's memory", { timeout: 120_000 }, async () => {
  await until(async () => (await machine.lease().catch(() => null))?.workers.length === 2);
  const { workers } = await machine.lease();
  assert.deepEqual(
    workers.map(({ device }) => device).sort((a, b) => a!.uuid.localeCompare(b!.uuid)),
    gpus.map(({ uuid, name, memory }) => ({ uuid, name, memory })),
  );
  const environment = readEnvironment({ ...process.env, ROSLIN_HOME: machine.home, ROSLIN_S3: "external" }, CHECKOUT);
  const connection = await NativeConnection.connect({ address: machine.address });
  try {
    const here = planDependencies(environment, { connection, client: machine.client, namespace: "default" }, makeStages(environment));
    assert.equal(await here.gpuWorkers(), 2);
    assert.deepEqual(
      await here.gpuMemory(),
      gpus.map(({ memory }) => memory),
    );
  } finally {
    await connection.close();
  }
});
