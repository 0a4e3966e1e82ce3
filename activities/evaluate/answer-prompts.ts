import type { Sampling } from "../../core/generation/sampling.js";
import { AnswerText } from "../../core/text/stopping.js";
import type { EvaluatedModel, TaskInput } from "./task.js";

/** Prompts that are answered at a time; an evaluation that was killed asks so many again. */
const BATCH = 8;

/** Cuts a list into lists of at most eight. */
export function batchesOf<Item>(items: readonly Item[]): Item[][] {
  return Array.from({ length: Math.ceil(items.length / BATCH) }, (_, batch) => items.slice(batch * BATCH, (batch + 1) * BATCH));
}

/** A prompt, and the number by which its answer is drawn. */
export interface Asked {
  readonly prompt: readonly number[];
  readonly stream: number;
}

/** The new tokens of each prompt, up to what ends an answer, or until there are enough. */
export async function answerPrompts(
  model: Pick<EvaluatedModel, "generate">,
  asked: readonly Asked[],
  { tokenizer, prompt, settings }: Pick<TaskInput, "tokenizer" | "prompt" | "settings">,
  sampling: Partial<Sampling>,
): Promise<number[][]> {
  const answers = asked.map((): number[] => []);
  const texts = asked.map(() => (tokenizer === null ? null : new AnswerText(tokenizer, [prompt?.stop ?? ""])));
  const isLast = ({ sequence, token }: { readonly sequence: number; readonly token: number }): boolean => {
    answers[sequence]!.push(token);
    texts[sequence]?.add(token);
    return texts[sequence]?.isStopped ?? false;
  };
  const options = { ...sampling, maxNewTokens: settings.generation.maxNewTokens, streams: asked.map(({ stream }) => stream), isLast };
  const tokens = model.generate(
    asked.map((each) => each.prompt),
    options,
  );
  // isLast takes them
  while ((await tokens.next()).done !== true);
  return answers;
}

/** Whether answers are drawn beside the likeliest ones. */
export function draws({ generation }: TaskInput["settings"]): boolean {
  return generation.temperature > 0;
}
