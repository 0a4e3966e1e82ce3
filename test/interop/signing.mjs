// Publishes PyTorch's small model, signed: node signing.mjs TARGET. KEY is the private key in PEM, PASSPHRASE its passphrase.
// Prints the published directory.
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const from = (path) => import(new URL(`../../dist/${path}`, import.meta.url).href);
const { publish } = await from("activities/publish/publish.js");
const { parseRunConfig } = await from("core/config/schema.js");
const { finishedRun, publishDependencies } = await from("test/activities/publish/run.js");

const target = pathToFileURL(resolve(process.argv[2])).href;
const request = await finishedRun(mkdtempSync(join(tmpdir(), "roslin-signing-")), target, true, { "tokenizer.json": Buffer.from("{}") });
const passphrase = process.env.PASSPHRASE === undefined ? null : "env:PASSPHRASE";
const config = parseRunConfig({ ...request.config, publish: { target, sign: { key: "env:KEY", passphrase } } });
const context = { signal: new AbortController().signal, progress: () => undefined };
const result = await publish(publishDependencies({}, undefined, { variables: process.env }), { ...request, config }, context);
console.log(fileURLToPath(result.outputs[0].uri));
