// Roslin's side of token-ids.py.
//   node token-ids.mjs make            writes GPT-J's tokenizer.json to standard output
//   node token-ids.mjs encode LIST     LIST is a JSON file of {directories, texts}: writes, for each directory, the ids of each
//                                       text with those around it, or the message of an error
import { readFileSync } from "node:fs";

const dist = new URL("../../dist/", import.meta.url);
const [command, list] = process.argv.slice(2);

if (command === "make") {
  const { gpt2Tokenizer } = await import(new URL("demo/tokenizer.js", dist));
  process.stdout.write(JSON.stringify(gpt2Tokenizer()));
} else {
  const { readTokenizer } = await import(new URL("infra/text/read-tokenizer.js", dist));
  const { directories, texts } = JSON.parse(readFileSync(list, "utf8"));
  const answers = directories.map((directory) => {
    try {
      const { encode, around, bosToken, eosToken } = readTokenizer(directory);
      return { bosToken, eosToken, ids: texts.map((text) => [...around.before, ...encode(text), ...around.after]) };
    } catch (error) {
      return { refused: error.message };
    }
  });
  process.stdout.write(JSON.stringify(answers));
}
