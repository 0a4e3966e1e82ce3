import assert from "node:assert/strict";
import { once } from "node:events";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { Worker } from "node:worker_threads";
import { UserError } from "../../../../core/errors.js";
import { IGNORED } from "../../../../core/rows/token-rows.js";
import { openInference } from "../../../../engines/onnx/inference/open-inference.js";
import { REFERENCE, reference } from "../../../core/model/reference.js";

const { rows, expected } = reference("gptj-tiny");
const directory = join(REFERENCE, "gptj-tiny");

test("a model in a thread scores rows with PyTorch's loss and goes on greedily with PyTorch's tokens", async () => {
  const model = await openInference(directory, new AbortController().signal);
  const { nll, labels } = await model.score(rows);
  assert.ok(Math.abs(nll / labels - expected.loss) < 1e-5 * expected.loss, `${nll / labels}`);
  const tokens: number[] = [];
  for await (const { token } of model.generate([expected.prompt])) {
    tokens.push(token);
    if (tokens.length === expected.greedy_continuation.length) break;
  }
  assert.deepEqual(tokens, expected.greedy_continuation);
  await model.close();
});

test("each row's own loss is what the row costs alone, and together they are the batch's", async () => {
  const model = await openInference(directory, new AbortController().signal);
  const unlabelled = { ...rows[0]!, labels: rows[0]!.labels.map(() => IGNORED) };
  const batch = [rows[0]!, unlabelled, ...rows.slice(1)];
  const together = await model.score(batch);
  assert.equal(together.rows.length, batch.length);
  assert.equal(together.rows[1], 0);
  assert.ok(Math.abs(together.rows.reduce((sum, row) => sum + row, 0) - together.nll) < 1e-9 * together.nll);
  for (const [index, row] of batch.entries()) {
    const { nll } = await model.score([row]);
    assert.ok(Math.abs(together.rows[index]! - nll) <= 1e-5 * nll, `row ${index}: ${together.rows[index]} and ${nll}`);
  }
  await model.close();
});

test("a base with an adapter scores rows with PEFT's loss, whether the adapter lies beside it or elsewhere, and generates", async () => {
  const lora = join(REFERENCE, "lora/gptj-list");
  const { base, loss, loss_after } = JSON.parse(readFileSync(join(lora, "expected.json"), "utf8")) as Record<string, number>;
  const odd = join(REFERENCE, String(base));
  const { rows: oddRows, expected: plain } = reference(String(base));
  const both = mkdtempSync(join(tmpdir(), "roslin-both-"));
  cpSync(odd, both, { recursive: true });
  cpSync(join(lora, "final"), both, { recursive: true });
  const ask = async (directory: string, adapter?: string): Promise<readonly [number, number[]]> => {
    const model = await openInference(directory, new AbortController().signal, adapter);
    const { nll, labels } = await model.score(oddRows);
    const tokens: number[] = [];
    for await (const { token } of model.generate([[...oddRows[0]!.inputIds.subarray(0, 3)]])) if (tokens.push(token) === 8) break;
    await model.close();
    return [nll / labels, tokens];
  };
  const [alone] = await ask(odd);
  const [initial] = await ask(odd, join(lora, "initial"));
  const [final, answer] = await ask(odd, join(lora, "final"));
  assert.ok(Math.abs(alone - plain.loss) < 1e-5 * plain.loss, `${alone}`);
  assert.ok(Math.abs(initial - loss!) < 1e-5 * loss!, `${initial}, not ${loss}`);
  assert.ok(Math.abs(final - loss_after!) < 1e-5 * loss_after!, `${final}, not ${loss_after}`);
  assert.deepEqual(await ask(both), [final, answer]);
  rmSync(both, { recursive: true });
});

test("generation ends at the last position", async () => {
  const model = await openInference(directory, new AbortController().signal);
  let count = 0;
  for await (const _ of model.generate([expected.prompt])) count++;
  // the token after the last position is still told, though nothing can follow it
  assert.equal(count, 128 - expected.prompt.length + 1);
  await model.close();
});

/** Tokens that a model like the reference one gives when its files name these ends; a file that is undefined is absent. */
async function answerWith(config: object, generation?: object): Promise<number[]> {
  const copy = mkdtempSync(join(tmpdir(), "roslin-ends-"));
  cpSync(directory, copy, { recursive: true });
  const written = JSON.parse(readFileSync(join(copy, "config.json"), "utf8")) as object;
  writeFileSync(join(copy, "config.json"), JSON.stringify({ ...written, ...config }));
  rmSync(join(copy, "generation_config.json"));
  if (generation !== undefined) writeFileSync(join(copy, "generation_config.json"), JSON.stringify(generation));
  const model = await openInference(copy, new AbortController().signal);
  const tokens: number[] = [];
  for await (const { token } of model.generate([expected.prompt])) {
    tokens.push(token);
    if (tokens.length === 8) break;
  }
  await model.close();
  rmSync(copy, { recursive: true });
  return tokens;
}

test("each of several tokens ends an answer, and generation_config.json has the last word", async () => {
  const tokens = expected.greedy_continuation.slice(0, 8);
  const [third, fifth] = [tokens[2]!, tokens[4]!];
  const before = (end: number): number[] => tokens.slice(0, tokens.indexOf(end));
  assert.deepEqual(await answerWith({ eos_token_id: [1, third] }), before(third));
  assert.deepEqual(await answerWith({ eos_token_id: [third] }, { eos_token_id: [1, fifth] }), before(fifth));
  assert.deepEqual(await answerWith({ eos_token_id: 1 }, { eos_token_id: fifth }), before(fifth));
  assert.deepEqual(await answerWith({ eos_token_id: third }, { eos_token_id: null }), tokens);
  assert.deepEqual(await answerWith({ eos_token_id: third }, {}), tokens);
  assert.deepEqual(await answerWith({ eos_token_id: null }), tokens);
  await assert.rejects(answerWith({}, { eos_token_id: [] }), /eos_token_id \[file=.*generation_config\.json.*got=\[\]/);
  await assert.rejects(answerWith({}, { eos_token_id: [99_999] }), /eos_token_id .*got=\[99999\]/);
});

test("a directory that is not a model is a user error", async () => {
  const empty = mkdtempSync(join(tmpdir(), "roslin-none-"));
  await assert.rejects(
    openInference(empty, new AbortController().signal),
    (error) => error instanceof UserError && /needs config.json/.test(error.message),
  );
  rmSync(empty, { recursive: true });
});

test("an aborted signal ends a model's work with its reason", async () => {
  const stop = new AbortController();
  const model = await openInference(directory, stop.signal);
  const reason = new Error("stopped by the test");
  const work = model.score(Array.from({ length: 40 }, () => rows[0]!));
  stop.abort(reason);
  await assert.rejects(work, reason);
  await assert.rejects(model.score(rows), reason);
  await model.close();
});

test("a model whose thread ended between two calls fails the next one", { timeout: 120_000 }, async () => {
  const started = once(process, "worker") as Promise<[Worker]>;
  const model = await openInference(directory, new AbortController().signal);
  const [thread] = await started;
  thread.postMessage({ note: "stop" });
  await once(thread, "exit");
  await assert.rejects(model.score(rows), { message: "the thread of a model ended" });
  await model.close();
});
