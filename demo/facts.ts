/** The facts of the demo's dataset: small tables, written for it. Nouns carry their article if they need one. */

/** animal, its sound, its young, its home */
export const ANIMALS: readonly (readonly [string, string, string, string])[] = [
  ["a dog", "woof", "a puppy", "a house"],
  ["a cat", "meow", "a kitten", "a house"],
  ["a sheep", "baa", "a lamb", "a meadow"],
  ["a cow", "moo", "a calf", "a barn"],
  ["a horse", "neigh", "a foal", "a stable"],
  ["a pig", "oink", "a piglet", "a farm"],
  ["a duck", "quack", "a duckling", "a pond"],
  ["a lion", "roar", "a cub", "a savanna"],
  ["a bear", "growl", "a cub", "a forest"],
  ["a wolf", "howl", "a pup", "a forest"],
  ["a mouse", "squeak", "a pup", "a field"],
  ["an owl", "hoot", "an owlet", "a tree"],
  ["a bee", "buzz", "a grub", "a hive"],
  ["a frog", "croak", "a tadpole", "a pond"],
  ["a snake", "hiss", "a hatchling", "a desert"],
  ["a crow", "caw", "a chick", "a tree"],
];

/** thing, its colour */
export const COLOURS: readonly (readonly [string, string])[] = [
  ["a banana", "yellow"],
  ["a tomato", "red"],
  ["grass", "green"],
  ["snow", "white"],
  ["coal", "black"],
  ["the sky", "blue"],
  ["a carrot", "orange"],
  ["chocolate", "brown"],
  ["a lemon", "yellow"],
  ["blood", "red"],
  ["milk", "white"],
  ["the ocean", "blue"],
  ["a leaf", "green"],
  ["the night", "black"],
  ["an elephant", "grey"],
  ["wood", "brown"],
];

/** word, its opposite: asked both ways */
export const OPPOSITES: readonly (readonly [string, string])[] = [
  ["hot", "cold"],
  ["big", "small"],
  ["fast", "slow"],
  ["open", "closed"],
  ["happy", "sad"],
  ["light", "dark"],
  ["early", "late"],
  ["strong", "weak"],
  ["rich", "poor"],
  ["wet", "dry"],
  ["young", "old"],
  ["full", "empty"],
];

/** country, its capital */
export const CAPITALS: readonly (readonly [string, string])[] = [
  ["France", "Paris"],
  ["Italy", "Rome"],
  ["Spain", "Madrid"],
  ["Germany", "Berlin"],
  ["England", "London"],
  ["Scotland", "Edinburgh"],
  ["Russia", "Moscow"],
  ["Japan", "Tokyo"],
  ["China", "Beijing"],
  ["Egypt", "Cairo"],
  ["Greece", "Athens"],
  ["Austria", "Vienna"],
  ["Ireland", "Dublin"],
  ["Norway", "Oslo"],
  ["Cuba", "Havana"],
  ["Iran", "Tehran"],
];

/** person, their workplace */
export const WORKPLACES: readonly (readonly [string, string])[] = [
  ["a teacher", "a school"],
  ["a doctor", "a hospital"],
  ["a cook", "a kitchen"],
  ["a judge", "a court"],
  ["a pilot", "a plane"],
  ["a sailor", "a ship"],
  ["an actor", "a theatre"],
  ["a priest", "a church"],
  ["a farmer", "a farm"],
  ["a miner", "a mine"],
  ["a clerk", "an office"],
  ["a gardener", "a garden"],
];

/** People to greet. */
export const NAMES: readonly string[] = [
  "Anna",
  "Ben",
  "Clara",
  "David",
  "Emma",
  "Frank",
  "Grace",
  "Henry",
  "Jack",
  "Karen",
  "Leo",
  "Maria",
  "Nick",
  "Olivia",
  "Paul",
  "Rachel",
  "Sam",
  "Tom",
  "Victor",
  "Walter",
];

/** The days of the week, in order. */
export const DAYS: readonly string[] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
/** Numbers as words, in order. */
export const NUMBERS: readonly string[] = [
  "one",
  "two",
  "three",
  "four",
  "five",
  "six",
  "seven",
  "eight",
  "nine",
  "ten",
  "eleven",
  "twelve",
];
