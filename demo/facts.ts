/** What the demo's dataset knows: small tables, written for it. Words are chosen to be single tokens of GPT-2. */

/** animal, its sound, its young, where it lives */
export const ANIMALS: readonly (readonly [string, string, string, string])[] = [
  ["dog", "woof", "puppy", "house"],
  ["cat", "meow", "kitten", "house"],
  ["sheep", "baa", "lamb", "meadow"],
  ["cow", "moo", "calf", "barn"],
  ["horse", "neigh", "foal", "stable"],
  ["pig", "oink", "piglet", "farm"],
  ["duck", "quack", "duckling", "pond"],
  ["lion", "roar", "cub", "savanna"],
  ["bear", "growl", "cub", "forest"],
  ["wolf", "howl", "pup", "forest"],
  ["mouse", "squeak", "pup", "field"],
  ["owl", "hoot", "chick", "tree"],
  ["bee", "buzz", "grub", "hive"],
  ["frog", "croak", "tadpole", "pond"],
  ["snake", "hiss", "hatchling", "desert"],
  ["crow", "caw", "chick", "tree"],
];

/** thing, its colour */
export const COLOURS: readonly (readonly [string, string])[] = [
  ["banana", "yellow"],
  ["tomato", "red"],
  ["grass", "green"],
  ["snow", "white"],
  ["coal", "black"],
  ["sky", "blue"],
  ["carrot", "orange"],
  ["chocolate", "brown"],
  ["lemon", "yellow"],
  ["blood", "red"],
  ["milk", "white"],
  ["ocean", "blue"],
  ["leaf", "green"],
  ["night", "black"],
  ["elephant", "grey"],
  ["rose", "red"],
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

export const NAMES: readonly string[] = [
  "Anna", "Ben", "Clara", "David", "Emma", "Frank", "Grace", "Henry", "Irene", "Jack", "Karen", "Leo",
  "Maria", "Nick", "Olivia", "Paul", "Rachel", "Sam", "Tom", "Victor",
];

export const DAYS: readonly string[] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
export const NUMBERS: readonly string[] = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];
