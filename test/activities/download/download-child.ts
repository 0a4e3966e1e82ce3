import { download } from "../../../activities/download/download.js";
import { dependenciesFor, HUB, requestFor } from "./dependencies.js";

/** A process to be killed: `node download-child.js URL WORK` downloads the tests' sources. */
const [url, work] = process.argv.slice(2) as [string, string];
await download(dependenciesFor(url, work), requestFor(HUB, work), { signal: new AbortController().signal, progress: () => {} });
