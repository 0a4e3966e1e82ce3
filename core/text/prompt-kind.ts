import { UserError } from "../errors.js";
import type { RunConfig } from "../config/schema.js";
import type { Conversation } from "./conversation.js";

/** What `preprocess.prompt` says. */
export type PromptSetting = RunConfig["preprocess"]["prompt"];

/** A row's text. */
export interface WrittenRow {
  readonly text: string;
  /** the parts of the text that carry loss, in their order: [first, end) in UTF-16 units */
  readonly scored: readonly (readonly [first: number, end: number])[];
  /** the EOS token is to follow the text, unless the text ends with it */
  readonly needsEos: boolean;
}

/** Why a conversation cannot be written: `whole` if the setting is at fault, and not this one row. */
export class PromptProblem extends UserError {
  readonly whole: boolean;
  constructor(message: string, whole: boolean) {
    super(message);
    this.whole = whole;
  }
}

/** The text that is put around what a row says. */
export interface Prompt {
  /** The text of a row. Throws PromptProblem. */
  write(this: void, conversation: Conversation): WrittenRow;
  /** The text that asks for the answer of the last turn, whose output is not looked at. Throws PromptProblem. */
  ask(this: void, conversation: Conversation): string;
  /** an answer ends where the model writes this, or with EOS; empty: with EOS alone */
  readonly stop: string;
  /** whether the tokenizer puts its own special tokens around the text */
  readonly around: boolean;
}

/** The special tokens that a prompt writes, as texts, and the model's chat template. */
export interface PromptTokens {
  /** empty: the tokenizer has none */
  readonly bosToken: string;
  readonly eosToken: string;
  /** the one at which generation stops; empty: there is none */
  readonly endToken: string;
  /** all by the names that templates have for them, such as pad_token */
  readonly named?: Readonly<Record<string, string>>;
  readonly chatTemplate: string | null;
  /** texts of the added tokens */
  readonly added: readonly string[];
}

/** A compiled Jinja template. */
export interface Template {
  /** Throws Error when the template raises one. */
  render(this: void, variables: Readonly<Record<string, unknown>>): string;
  /** the variables that it reads and does not set itself */
  readonly names: ReadonlySet<string>;
}

/** Compiles a Jinja template. Throws UserError with the line of an error. `where`: what the template is, for the message. */
export type CompileTemplate = (template: string, where: string) => Template;

/** Throws PromptProblem if a conversation has content of a kind that a prompt has no room for. */
export function checkRoom({ system, turns }: Conversation, room: ReadonlySet<string>, where: string): void {
  const last = turns.at(-1)!;
  const missing =
    system !== "" && !room.has("system")
      ? "a system message"
      : turns.length > 1 && !room.has("history")
        ? "earlier turns (history)"
        : last.input !== "" && !room.has("input")
          ? "an input"
          : last.instruction !== "" && !room.has("instruction")
            ? "an instruction"
            : null;
  if (missing === null) return;
  throw new PromptProblem(
    `a row has ${missing}, and ${where} has no room for it: set preprocess.prompt to "chat", or to a template that writes it`,
    true,
  );
}
