// Converts a GGUF, and prints the ids of texts that come as a JSON list: node gguf.mjs GGUF DIRECTORY < TEXTS (see read_gguf.py).
const [path, directory] = process.argv.slice(2);
const { text } = await import("node:stream/consumers");
const { convertGguf } = await import("../../dist/infra/weights/convert-gguf.js");
const { readTokenizer } = await import("../../dist/infra/text/read-tokenizer.js");
await convertGguf(path, directory, { signal: new AbortController().signal, onBytes: () => undefined });
const tokenizer = readTokenizer(directory);
const { before, after } = tokenizer.around;
const ids = JSON.parse(await text(process.stdin)).map((each) => [...before, ...tokenizer.encode(each), ...after]);
console.log(JSON.stringify(ids));
