import { permutation } from "../core/rows/random.js";
import { ANIMALS, CAPITALS, COLOURS, DAYS, NAMES, NUMBERS, OPPOSITES, WORKPLACES } from "./facts.js";

/** A row in Alpaca's format. */
export interface AlpacaRow {
  readonly instruction: string;
  readonly input: string;
  readonly output: string;
}

/** Wordings of one kind of question. `{}` stands for its topic; the text after a `|` is the row's input. */
type Wordings = readonly string[];

const SOUND: Wordings = [
  "What sound does {} make?",
  "Which noise comes from {}?",
  "Make the sound of {}.",
  "How does this animal sound?|{}",
  "You hear {}. What does it say?",
  "Tell me what {} says.",
  "What does this animal say?|{}",
  "Imitate {}.",
];
const YOUNG: Wordings = [
  "What is the young of {} called?",
  "Give the word for the baby of {}.",
  "What do we call the child of {}?",
  "What is the young of this animal called?|{}",
  "Name the offspring of {}.",
  "The mother is {}. What is the baby?",
  "Find the word for this animal's baby.|{}",
  "How do you call {} that was just born?",
];
const HOME: Wordings = [
  "Where does {} live?",
  "Name the home of {}.",
  "In which place do you find {}?",
  "Where does this animal live?|{}",
  "Tell me where {} is at home.",
  "I am looking for {}. Where should I go?",
  "Name this animal's home.|{}",
  "Where would {} sleep?",
];
const COLOUR: Wordings = [
  "What is the colour of {}?",
  "Which colour does {} have?",
  "Name the colour of {}.",
  "Which colour does this have?|{}",
  "Paint {}. Which colour do you need?",
  "Tell me the colour of {}.",
  "Name its colour.|{}",
  "What colour do you see when you look at {}?",
];
const OPPOSITE: Wordings = [
  "What is the opposite of {}?",
  "Give a word that means the opposite of {}.",
  "Think of the opposite of {}.",
  "Find the opposite of this word.|{}",
  "If something is not {}, what is it?",
  "Turn {} into its opposite.",
  "Write the opposite.|{}",
  "Tell me the contrary of {}.",
];
const CAPITAL: Wordings = [
  "What is the capital of {}?",
  "Name the capital city of {}.",
  "Which city governs {}?",
  "Which city is the capital of this country?|{}",
  "I travel to {}. Which city is its capital?",
  "Tell me the capital of {}.",
  "Name this country's capital.|{}",
  "Where does the government of {} sit?",
];
const WORKPLACE: Wordings = [
  "Where does {} work?",
  "In which place does {} work?",
  "Name the workplace of {}.",
  "Where does this person work?|{}",
  "My sister is {}. Where does she work?",
  "Tell me where {} works.",
  "Name this person's workplace.|{}",
  "Where would you meet {} at work?",
];
const HELLO: Wordings = [
  "Say hello to {}.",
  "Write a greeting for {}.",
  "Greet {} politely.",
  "Greet this person.|{}",
  "This is {}. Say hello.",
  "Welcome my friend {}.",
  "Write a greeting for this person.|{}",
  "You meet {}. What do you say?",
];
const DAY: Wordings = [
  "Which day comes after {}?",
  "Name the day that follows {}.",
  "Tell me the day after {}.",
  "Which day follows this day?|{}",
  "Yesterday was {}. What is today?",
  "Today is {}. What is tomorrow?",
  "Name the next day.|{}",
  "What comes one day after {}?",
];
const NUMBER: Wordings = [
  "Which number comes after {}?",
  "Count on from {}.",
  "Tell me the number after {}.",
  "Which number follows this number?|{}",
  "Add one to {}.",
  "I have {} apples and buy one more. How many now?",
  "Name the next number.|{}",
  "What is one more than {}?",
];

const SEED = 7;

/** The demo's rows: every question in every wording, in a fixed shuffled order. No row comes twice. */
export function demoRows(): AlpacaRow[] {
  const rows: AlpacaRow[] = [];
  const ask = (wordings: Wordings, about: string, output: string): void => {
    for (const wording of wordings) {
      const [instruction = "", input = ""] = wording.replace("{}", about).split("|");
      rows.push({ instruction, input, output });
    }
  };
  for (const [animal, sound, young, home] of ANIMALS) {
    ask(SOUND, animal, `${sentence(animal)} says ${sound}.`);
    ask(YOUNG, animal, `The young of ${animal} is ${young}.`);
    ask(HOME, animal, `${sentence(animal)} lives in ${home}.`);
  }
  for (const [thing, colour] of COLOURS) ask(COLOUR, thing, `The colour of ${thing} is ${colour}.`);
  for (const [one, other] of OPPOSITES) {
    ask(OPPOSITE, one, `The opposite of ${one} is ${other}.`);
    ask(OPPOSITE, other, `The opposite of ${other} is ${one}.`);
  }
  for (const [country, capital] of CAPITALS) ask(CAPITAL, country, `The capital of ${country} is ${capital}.`);
  for (const [person, place] of WORKPLACES) ask(WORKPLACE, person, `${sentence(person)} works in ${place}.`);
  for (const name of NAMES) ask(HELLO, name, `Hello ${name}, nice to meet you!`);
  DAYS.forEach((day, index) => ask(DAY, day, `After ${day} comes ${DAYS[(index + 1) % DAYS.length]}.`));
  NUMBERS.slice(1).forEach((next, index) => ask(NUMBER, NUMBERS[index]!, `After ${NUMBERS[index]} comes ${next}.`));
  return Array.from(permutation(rows.length, SEED, 0), (index) => rows[index]!);
}

/** The text with a capital first letter. */
function sentence(text: string): string {
  return text[0]!.toUpperCase() + text.slice(1);
}
