import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { CHECKOUT } from "../../workers/environment.js";
import { configurationFiles } from "./configuration.js";

/** `npm run docs`: writes the pages that are made from the source. */
for (const [path, text] of Object.entries(configurationFiles())) writeFileSync(join(CHECKOUT, path), text);
