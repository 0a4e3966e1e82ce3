#!/usr/bin/env node
// Starts roslin from a checkout: installs and builds what is stale, then runs the compiled command in this process.
if (Number(process.versions.node.split(".")[0]) < 20) {
  console.error(`roslin: Node ${process.versions.node} is too old; install Node 20 or newer`);
  process.exit(2);
}
const { makeReady } = await import("./ready.js");
const { dirname } = await import("node:path");
const { fileURLToPath } = await import("node:url");
try {
  await makeReady(dirname(dirname(fileURLToPath(import.meta.url))), (line) => console.error(`roslin: ${line}`));
} catch (error) {
  console.error(`roslin: set-up failed: ${error.message}`);
  process.exit(2);
}
process.setSourceMapsEnabled(true);
const { main } = await import("../dist/cli/main.js");
process.exit(await main(process.argv.slice(2)));
