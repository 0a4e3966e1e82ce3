import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it, test } from "node:test";
import { UserError } from "../../../../core/errors.js";
import { elements, floats, int32s, int64s, type Tensor } from "../../../../core/graph/tensor.js";
import { allParameters } from "../../../../core/model/family.js";
import { GREEDY, type Sampling } from "../../../../core/generation/sampling.js";
import { Caches } from "../../../../engines/onnx/inference/caches.js";
import { loadModel, type LoadedModel } from "../../../../engines/onnx/inference/model.js";
import { createSession } from "../../../../engines/onnx/session/session.js";
import type { GenerationOptions } from "../../../../engines/inference.js";
import { ModelFiles } from "../../../../infra/weights/model-files.js";
import { REFERENCE, reference, REFERENCES, worstShare } from "../../../core/model/reference.js";

/** Generation over caches that are held: the full forward pass's logits, and for each sequence the same tokens in every batch. */

const root = mkdtempSync(join(tmpdir(), "roslin-decode-"));
after(() => rmSync(root, { recursive: true }));

const PLENTY = 2 ** 40;
const load = (directory: string, memory = PLENTY, adapter: string | null = null, free = PLENTY): Promise<LoadedModel> =>
  loadModel(
    new ModelFiles(directory),
    1,
    () => false,
    adapter,
    memory,
    () => free,
  );

/** The tokens of each prompt; `endedAt` ends a sequence after so many. */
async function tokensOf(
  model: LoadedModel,
  prompts: readonly (readonly number[])[],
  options: GenerationOptions,
  endedAt: Readonly<Record<number, number>> = {},
): Promise<number[][]> {
  const tokens = prompts.map((): number[] => []);
  const steps = model.generate(prompts, options);
  for (let step = await steps.next(); step.done !== true;) {
    for (const { sequence, token } of step.value) tokens[sequence]!.push(token);
    const full = tokens.flatMap(({ length }, sequence) => (length === endedAt[sequence] ? [sequence] : []));
    step = await steps.next(full);
  }
  return tokens;
}

describe("a decoder whose caches are held", () => {
  for (const name of Object.values(REFERENCES).flat())
    it(`gives the logits of the full forward pass, in pieces and beside another sequence: ${name}`, async () => {
      const { model, weights, rows, expected, tensors } = reference(name);
      const V = model.shape.vocabulary;
      const all = tensors("expected-logits.safetensors").get("logits")!;
      const S = expected.input_ids[0]!.length;
      const specs = allParameters(model.parameters);
      const initializers = Object.fromEntries(specs.map(({ name: each, shape }) => [each, floats(weights.get(each)!, ...shape)]));
      const beside = ({ shape }: { readonly shape: readonly number[] }) => ({
        location: "weights",
        offset: 0,
        length: 4 * elements(shape),
      });
      const graph = model.family.decoder(model.shape, model.parameters, beside, "held");
      const session = await createSession(graph, { threads: 1, initializers });
      const caches = new Caches(graph.inputs, 2, model.shape.positions);
      const read = async (slots: ReturnType<Caches["slice"]>, ids: number[][], firsts: number[]): Promise<Float32Array> => {
        const last = Int32Array.from(firsts, (first) => first + ids[0]!.length - 1);
        const inputs: Record<string, Tensor> = {
          input_ids: int64s(ids.flat(), ids.length, ids[0]!.length),
          position_ids: int64s(
            ids.flatMap((row, index) => row.map((_, at) => firsts[index]! + at)),
            ids.length,
            ids[0]!.length,
          ),
          last: int32s(last, ids.length),
          longest: int32s(Int32Array.of(Math.max(...last) + 1), 1),
        };
        return (await session.run({ ...slots.past, ...inputs }, { logits: null, ...slots.present }))["logits"]!.data as Float32Array;
      };
      const assertLogits = (got: Float32Array, row: number, at: number): void =>
        assert.ok(worstShare(got, all.subarray((row * S + at) * V, (row * S + at + 1) * V)) < 2e-5, `row ${row} at ${at}`);
      const [first, second] = [rows[0]!, rows[1]!].map((row) => [...row.inputIds]) as [number[], number[]];
      // room for little, so that it has to grow
      caches.reserve(3, []);
      assertLogits(await read(caches.slice(0, 1), [first.slice(0, 2)], [0]), 0, 1);
      assertLogits(await read(caches.slice(1, 1), [second.slice(0, 1)], [0]), 1, 0);
      assertLogits(await read(caches.slice(0, 1), [first.slice(2, 3)], [2]), 0, 2);
      caches.reserve(S, [3, 1]);
      assertLogits(await read(caches.slice(0, 1), [first.slice(3, 5)], [3]), 0, 4);
      for (let step = 0; step < Math.min(first.length - 5, second.length - 1); step++) {
        const logits = await read(caches.slice(0, 2), [[first[5 + step]!], [second[1 + step]!]], [5 + step, 1 + step]);
        assertLogits(logits.subarray(0, V), 0, 5 + step);
        assertLogits(logits.subarray(V), 1, 1 + step);
      }
      await session.close();
    });
});

/** Directories of each family, and two adapters on bases in halves. */
const lora = (name: string): readonly [string, string] => [join(REFERENCE, "lora", name, "base"), join(REFERENCE, "lora", name, "final")];
const PLACES: Readonly<Record<string, readonly [string, string | null]>> = {
  ...Object.fromEntries(
    ["gptj-tiny", "gptj-odd", "llama-grouped", "qwen3-small", "gpt-neox-tied", "gpt-neox-serial"].map((name) => [
      name,
      [join(REFERENCE, name), null] as const,
    ]),
  ),
  "gpt-neox-half with an adapter": lora("gpt-neox-half"),
  "llama-expression with an adapter": lora("llama-expression"),
};
const SAMPLED: Sampling = { temperature: 1.3, topP: 0.95, topK: 30, repetitionPenalty: 1.2, seed: 11 };

for (const [name, [directory, adapter]] of Object.entries(PLACES))
  for (const memory of [PLENTY, 0])
    test(`a sequence's tokens do not depend on the batch: ${name}, ${memory === 0 ? "where its weights lie" : "with packed weights"}`, async () => {
      const model = await load(directory, memory, adapter);
      const prompts = [[1, 2, 3, 4, 5, 6, 7], [8], [9, 10, 11], [3, 3, 3, 3, 3]];
      for (const sampling of [GREEDY, { ...GREEDY, repetitionPenalty: 1.5 }, SAMPLED]) {
        const options = { ...sampling, maxNewTokens: 9, minNewTokens: 9 };
        const together = await tokensOf(model, prompts, options, { 1: 3 });
        assert.deepEqual(
          together.map(({ length }) => length),
          [9, 3, 9, 9],
        );
        for (const [index, prompt] of prompts.entries()) {
          const [alone] = await tokensOf(model, [prompt], { ...options, streams: [index] });
          assert.deepEqual(alone!.slice(0, together[index]!.length), together[index], `prompt ${index}`);
        }
        const turned = await tokensOf(model, prompts.toReversed(), { ...options, streams: [3, 2, 1, 0] });
        assert.deepEqual(
          turned.toReversed().map((tokens, index) => tokens.slice(0, together[index]!.length)),
          together,
        );
      }
      await model.close();
    });

test("greedy tokens are the exported decoder's, in every family", async () => {
  let compared = 0;
  for (const name of Object.values(REFERENCES).flat()) {
    const { expected, model: known } = reference(name);
    if ((expected.greedy_continuation as readonly number[] | undefined) === undefined) continue;
    compared++;
    const model = await load(join(REFERENCE, name));
    const [tokens] = await tokensOf(model, [expected.prompt], { maxNewTokens: expected.greedy_continuation.length });
    // testGreedy of each family compares the exported decoder's with these, which go on after an end
    const end = expected.greedy_continuation.findIndex((token) => known.shape.eosTokenIds.includes(token));
    assert.deepEqual(tokens, end < 0 ? expected.greedy_continuation : expected.greedy_continuation.slice(0, end), name);
    await model.close();
  }
  assert.ok(compared >= 5);
});

/** gptj-tiny with room for more tokens than one piece of a prompt has. */
function longModel(): string {
  const directory = join(root, "long");
  cpSync(join(REFERENCE, "gptj-tiny"), directory, { recursive: true });
  const path = join(directory, "config.json");
  writeFileSync(path, JSON.stringify({ ...(JSON.parse(readFileSync(path, "utf8")) as object), n_positions: 700 }));
  return directory;
}

test("a prompt of several pieces is gone on with as the same tokens one at a time are", async () => {
  const model = await load(longModel());
  const start = Array.from({ length: 250 }, (_, at) => (at * 37) % 320);
  // the second prompt is the first one with what the model says to it: the same sequence, read in other pieces
  const [said] = await tokensOf(model, [start], { maxNewTokens: 400, minNewTokens: 400 });
  const [rest] = await tokensOf(model, [[...start, ...said!.slice(0, 350)]], { maxNewTokens: 50, minNewTokens: 50 });
  assert.deepEqual(rest, said!.slice(350));
  await model.close();
});

test("an answer ends with the token after the last position, however many are wanted, and a longer prompt is refused", async () => {
  const model = await load(join(REFERENCE, "gptj-tiny"));
  const prompt = Array.from({ length: 126 }, (_, at) => at);
  const [tokens] = await tokensOf(model, [prompt], { maxNewTokens: 50, minNewTokens: 50 });
  assert.equal(tokens!.length, 3);
  const refused = (each: readonly number[]) =>
    assert.rejects(
      tokensOf(model, [[1], each], {}),
      (error) => error instanceof UserError && /\[tokens=\d+, positions=128\]/.test(error.message),
    );
  await refused(Array<number>(129).fill(1));
  await refused([]);
  assert.deepEqual(await tokensOf(model, [[1]], { maxNewTokens: 0 }), [[]]);
  await model.close();
});

test("a token that ends an answer ends that sequence alone, but not before there are enough tokens", async () => {
  const directory = join(root, "ends");
  cpSync(join(REFERENCE, "gptj-tiny"), directory, { recursive: true });
  const { expected } = reference("gptj-tiny");
  const end = expected.greedy_continuation[2]!;
  writeFileSync(join(directory, "generation_config.json"), JSON.stringify({ eos_token_id: end }));
  const model = await load(directory);
  const [first, second] = await tokensOf(model, [expected.prompt, [5]], { maxNewTokens: 6 });
  assert.deepEqual(first, expected.greedy_continuation.slice(0, expected.greedy_continuation.indexOf(end)));
  assert.ok(second!.length > (first?.length ?? 0));
  const [longer] = await tokensOf(model, [expected.prompt], { maxNewTokens: 6, minNewTokens: 6 });
  assert.equal(longer!.length, 6);
  assert.ok(!longer!.includes(end));
  await model.close();
});

test("a model whose logits are not numbers is named, with the prompt", async () => {
  const directory = join(root, "diverged");
  cpSync(join(REFERENCE, "gptj-tiny"), directory, { recursive: true });
  const path = join(directory, "model.safetensors");
  const bytes = readFileSync(path);
  const header = JSON.parse(bytes.toString("utf8", 8, 8 + bytes.readUInt32LE())) as Record<string, { data_offsets: [number, number] }>;
  const [from] = header["transformer.ln_f.weight"]!.data_offsets;
  // NaN itself is refused when the model is read
  bytes.writeFloatLE(3e38, 8 + bytes.readUInt32LE() + from);
  writeFileSync(path, bytes);
  const model = await load(directory);
  await assert.rejects(
    tokensOf(model, [[1, 2]], {}),
    (error) => error instanceof UserError && error.message.includes(`[model=${directory}, prompt=0, newTokens=0, token=`),
  );
  await model.close();
});

/** Of gptj-tiny, for one sequence of 16 tokens: keys and values of each layer. */
function bytesOfCaches(): number {
  const { layers, heads, width } = reference("gptj-tiny").model.shape;
  return 2 * layers * heads * Math.max(8, width / heads) * 4 * 16;
}

for (const memory of [PLENTY, 0])
  test(`as many prompts go together as have room, with the same tokens: ${memory === 0 ? "where weights lie" : "packed"}`, async (t) => {
    const prompts = [[1, 2, 3, 4, 5, 6, 7], [8], [9, 10, 11], [3, 3, 3, 3, 3], [4, 9]];
    const options = { ...SAMPLED, maxNewTokens: 9, minNewTokens: 9 };
    const reserved: number[] = [];
    const { reserve } = Caches.prototype;
    t.mock.method(Caches.prototype, "reserve", function (this: Caches, tokens: number, lengths: readonly number[]) {
      reserve.call(this, tokens, lengths);
      reserved.push(this.room);
    });
    const counts: number[] = [];
    let all: number[][] | null = null;
    // half of the free memory is for caches; where there is none, one sequence goes alone
    for (const slots of [5, 2, 0]) {
      const model = await load(join(REFERENCE, "gptj-tiny"), memory, null, 2 * slots * bytesOfCaches());
      const tokens = prompts.map((): number[] => []);
      const steps = model.generate(prompts, options);
      let most = 0;
      for (let step = await steps.next(); step.done !== true;) {
        for (const { sequence, token } of step.value) tokens[sequence]!.push(token);
        most = Math.max(most, step.value.length);
        step = await steps.next(tokens[2]!.length === 3 ? [2] : []);
      }
      counts.push(most);
      assert.equal(tokens[2]!.length, 3);
      assert.deepEqual(tokens, (all ??= tokens));
      await model.close();
    }
    assert.deepEqual(counts, [5, 2, 1]);
    // once, for the longest prompt and its answer
    assert.deepEqual(reserved, [16, 16, 16]);
  });
