import { startHubServer } from "./server.js";

/** A process of its own: `node main.js ROOT PORT [OWNER TOKEN]`, where OWNER may write with TOKEN; prints its address as the first line, ends on SIGTERM and SIGINT. */
const [root, port, name, token] = process.argv.slice(2);
if (root === undefined || !/^\d+$/.test(port ?? "")) {
  process.stderr.write("usage: main.js ROOT PORT [OWNER TOKEN]\n");
  process.exit(2);
}
const uploads = name === undefined || token === undefined ? {} : { uploads: { accounts: { [token]: { name, role: "write" as const } } } };
const server = await startHubServer({ root, host: "127.0.0.1", port: Number(port), ...uploads });
process.stdout.write(`${server.url}\n`);
for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => void server.close());
