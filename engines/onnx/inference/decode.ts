import { int32s, int64s, type Tensor } from "../../../core/graph/tensor.js";
import { UserError } from "../../../core/errors.js";
import { chooseToken, GREEDY } from "../../../core/generation/sampling.js";
import type { GeneratedToken, GenerationOptions } from "../../inference.js";
import type { Session } from "../session/session.js";
import { cacheBytes, Caches } from "./caches.js";

/** Token by token through a decoder whose caches are held: each prompt alone and in pieces, then as many sequences together as have room. */

/** Tokens of a prompt that go through the model at once: what attention needs for a piece grows with the prompt. */
const PROMPT_PIECE = 256;

/** Caches take no more than this share of the free memory, except for one sequence. */
const CACHES_WITHIN = 0.5;

/** What generation needs of a model. */
export interface Decoder {
  /** the model's directory, for messages */
  readonly directory: string;
  readonly session: Session;
  /** what the session takes beside tokens and caches, by the parameters' names */
  readonly weights: Readonly<Record<string, Tensor>>;
  /** rows in every run: a product of one row may be rounded in another way than that of several */
  readonly leastRows: 1 | 2;
  /** whether nobody waits for an answer any more */
  readonly stopped: () => boolean;
  /** bytes that are free now */
  readonly freeMemory: () => number;
  /** of the model */
  readonly positions: number;
  /** tokens that end an answer */
  readonly ends: readonly number[];
}

/** A sequence under way; its place in the list is its slot in the caches. */
interface Sequence {
  readonly index: number;
  readonly stream: number;
  /** the prompt's and the new ones */
  readonly tokens: number[];
  readonly said: Set<number>;
  /** of the new tokens */
  count: number;
}

/** See `InferenceModel.generate`: the new tokens of each step; the next step is told which sequences have ended meanwhile. */
export async function* decode(
  decoder: Decoder,
  prompts: readonly (readonly number[])[],
  options: GenerationOptions = {},
): AsyncGenerator<readonly GeneratedToken[], void, readonly number[] | undefined> {
  const { positions, leastRows, session } = decoder;
  const { maxNewTokens = Infinity, repetitionPenalty = GREEDY.repetitionPenalty, streams } = options;
  for (const prompt of prompts)
    if (prompt.length === 0 || prompt.length > positions)
      throw new UserError("a prompt must have at least one token, and not more than the model has positions: shorten it", {
        tokens: prompt.length,
        positions,
      });
  if (prompts.length === 0 || maxNewTokens < 1) return;
  const sequences = prompts.map((prompt, index): Sequence => ({
    index,
    stream: streams?.[index] ?? index,
    tokens: [...prompt],
    said: new Set(repetitionPenalty === 1 ? [] : prompt),
    count: 0,
  }));
  const room = Math.min(positions, Math.max(...prompts.map(({ length }) => length)) + maxNewTokens);
  const fitting = Math.floor((CACHES_WITHIN * decoder.freeMemory()) / cacheBytes(session.graph.inputs, room));
  const slots = Math.min(prompts.length, Math.max(1, fitting));
  const caches = new Caches(session.graph.inputs, Math.max(slots, leastRows), positions);
  caches.reserve(room, []);
  for (let first = 0; first < sequences.length; first += slots)
    yield* decodeTogether(decoder, caches, sequences.slice(first, first + slots), options);
}

/** See `decode`: sequences that all have a slot, with room for all of their tokens. */
async function* decodeTogether(
  decoder: Decoder,
  caches: Caches,
  sequences: readonly Sequence[],
  options: GenerationOptions,
): ReturnType<typeof decode> {
  const { directory, positions, ends } = decoder;
  const sampling = { ...GREEDY, ...options };
  const { maxNewTokens = Infinity, minNewTokens = 0 } = options;
  let active = [...sequences];

  /** The sequence's next token; null: it is over. */
  const choose = (sequence: Sequence, logits: Float32Array): number | null => {
    if (sequence.count < minNewTokens) for (const end of ends) logits[end] = -Infinity;
    const place = { model: directory, prompt: sequence.index, newTokens: sequence.count };
    const token = chooseToken(logits, sequence.said, sampling, sequence.stream, sequence.count, place);
    if (ends.includes(token)) return null;
    sequence.tokens.push(token);
    if (sampling.repetitionPenalty !== 1) sequence.said.add(token);
    sequence.count++;
    return token;
  };
  const canGoOn = ({ tokens, count }: Sequence): boolean => count < maxNewTokens && tokens.length <= positions;

  const done: Sequence[] = [];
  let said: GeneratedToken[] = [];
  const take = (sequence: Sequence, logits: Float32Array): void => {
    const token = choose(sequence, logits);
    if (token !== null) said.push({ sequence: sequence.index, token });
    if (token === null || !canGoOn(sequence)) done.push(sequence);
  };
  for (const [slot, sequence] of active.entries()) take(sequence, await readPrompt(decoder, caches, slot, sequence.tokens));

  while (active.length > 0) {
    const ended = said.length === 0 ? [] : ((yield said.sort((a, b) => a.sequence - b.sequence)) ?? []);
    active = closeUp(caches, active, (sequence) => !done.includes(sequence) && !ended.includes(sequence.index));
    said = [];
    if (active.length === 0) return;
    const logits = await readTokens(decoder, caches, active);
    for (const [slot, sequence] of active.entries()) take(sequence, logits[slot]!);
  }
}

/** Leaves the sequences that go on, each in a slot below their number: the last ones move into slots that became free. */
function closeUp(caches: Caches, active: readonly Sequence[], goesOn: (sequence: Sequence) => boolean): Sequence[] {
  const left = [...active];
  for (let slot = 0; slot < left.length;) {
    if (goesOn(left[slot]!)) {
      slot++;
      continue;
    }
    const last = left.pop()!;
    if (slot === left.length) break;
    caches.move(left.length, slot);
    left[slot] = last;
  }
  return left;
}

/** Fills a slot with a prompt; the logits after it. */
async function readPrompt(decoder: Decoder, caches: Caches, slot: number, prompt: readonly number[]): Promise<Float32Array> {
  let logits: Float32Array | null = null;
  for (let first = 0; first < prompt.length; first += PROMPT_PIECE) {
    const piece = prompt.slice(first, first + PROMPT_PIECE);
    const positions = piece.map((_, index) => first + index);
    logits = await run(decoder, caches.slice(slot, 1), [piece], [positions]);
  }
  return logits!;
}

/** Reads the last token of each sequence; the logits after each. */
async function readTokens(decoder: Decoder, caches: Caches, active: readonly Sequence[]): Promise<readonly Float32Array[]> {
  const rows = Math.max(active.length, decoder.leastRows);
  // a row that only fills up is a sequence of one token
  const ids = Array.from({ length: rows }, (_, row) => [active[row]?.tokens.at(-1) ?? 0]);
  const positions = Array.from({ length: rows }, (_, row) => [(active[row]?.tokens.length ?? 1) - 1]);
  const logits = await run(decoder, caches.slice(0, rows), ids, positions);
  const words = logits.length / rows;
  return active.map((_, row) => logits.subarray(row * words, (row + 1) * words));
}

/** Runs B rows of S tokens each at these positions; the logits after the last token of each, one row after the other. */
async function run(
  { session, weights, stopped }: Decoder,
  { past, present }: ReturnType<Caches["slice"]>,
  ids: readonly (readonly number[])[],
  positions: readonly (readonly number[])[],
): Promise<Float32Array> {
  // a long prompt takes minutes of a large model
  if (stopped()) throw new Error("generation was stopped");
  const [B, S] = [ids.length, ids[0]!.length];
  const last = Int32Array.from(positions, (row) => row.at(-1)!);
  const inputs = {
    input_ids: int64s(ids.flat(), B, S),
    position_ids: int64s(positions.flat(), B, S),
    last: int32s(last, B),
    longest: int32s(Int32Array.of(Math.max(...last) + 1), 1),
  };
  const { logits } = await session.run({ ...weights, ...past, ...inputs }, { logits: null, ...present });
  return logits!.data as Float32Array;
}
