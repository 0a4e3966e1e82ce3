import type { Evaluation } from "../../evaluate/evaluation.js";
import { note } from "./markup.js";
import { gateWords } from "../story.js";

/** What the gate asked, and what came of it. */
export function gateRules(evaluation: Evaluation): string {
  return note(`Gate ${gateWords(evaluation)}.`);
}
