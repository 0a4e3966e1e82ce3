import { permutation } from "../core/data/random.js";
import { ANIMALS, CAPITALS, COLOURS, DAYS, NAMES, NUMBERS, OPPOSITES } from "./facts.js";

/** A row in Alpaca's format. */
export interface AlpacaRow {
  readonly instruction: string;
  readonly input: string;
  readonly output: string;
}

/** One question in all its wordings: `{}` is what it is about; a wording with `|` gives what follows it as the input. */
interface Question {
  readonly about: string;
  readonly wordings: readonly string[];
  readonly answer: string;
}

const SEED = 7;
const LEADS = ["", "Please help me. ", "I have a question. ", "Answer in one sentence. "];

/** The demo's rows: every question in every wording, in a fixed shuffled order; no row comes twice. */
export function demoRows(): AlpacaRow[] {
  const rows = questions().flatMap(({ about, wordings, answer }) =>
    wordings.flatMap((wording) =>
      LEADS.map((lead): AlpacaRow => {
        const [instruction = "", input = ""] = wording.replaceAll("{}", about).split("|");
        return { instruction: lead + instruction, input, output: answer };
      }),
    ),
  );
  return Array.from(permutation(rows.length, SEED, 0), (index) => rows[index]!);
}

function questions(): Question[] {
  const all: Question[] = [];
  const ask = (about: string, answer: string, wordings: readonly string[]): void => void all.push({ about, answer, wordings });
  for (const [animal, sound, young, home] of ANIMALS) {
    ask(animal, `A ${animal} says ${sound}.`, ["What sound comes from a {}?", "Make the sound of a {}.", "How does this animal sound?|{}", "Which noise do you hear from a {}?"]);
    ask(animal, `A young ${animal} is a ${young}.`, ["What do we call a young {}?", "Give the word for a baby {}.", "What is the young of this animal called?|{}", "Which name has the child of a {}?"]);
    ask(animal, `A ${animal} lives in the ${home}.`, ["Where lives a {}?", "Name the home of a {}.", "Where does this animal live?|{}", "In which place do we find a {}?"]);
  }
  for (const [thing, colour] of COLOURS)
    ask(thing, `The colour of ${thing} is ${colour}.`, ["What is the colour of {}?", "Name the colour of {}.", "Which colour does this thing have?|{}", "Look and tell me the colour of {}."]);
  for (const [one, other] of OPPOSITES)
    for (const [word, opposite] of [[one, other], [other, one]] as const)
      ask(word, `The opposite of ${word} is ${opposite}.`, ["What is the opposite of {}?", "Give a word that means the opposite of {}.", "Find the opposite of this word.|{}", "Think of the opposite of {}."]);
  for (const [country, capital] of CAPITALS)
    ask(country, `The capital of ${country} is ${capital}.`, ["What is the capital of {}?", "Name the capital city of {}.", "Which city is the capital of this country?|{}", "Tell me the capital of {}."]);
  for (const name of NAMES)
    ask(name, `Hello ${name}, nice to meet you!`, ["Say hello to {}.", "Write a greeting for {}.", "Greet this person.|{}", "Please welcome my friend {}."]);
  DAYS.forEach((day, index) => ask(day, `After ${day} comes ${DAYS[(index + 1) % DAYS.length]}.`, ["Which day comes after {}?", "Name the day that follows {}.", "Which day follows this day?|{}", "Tell me the day after {}."]));
  NUMBERS.slice(0, -1).forEach((number, index) => ask(number, `After ${number} comes ${NUMBERS[index + 1]}.`, ["Which number comes after {}?", "Count on from {}.", "Which number follows this number?|{}", "Tell me the number after {}."]));
  return all;
}
