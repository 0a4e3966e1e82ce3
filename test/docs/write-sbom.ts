import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CHECKOUT } from "../../workers/environment.js";
import { licenceList, packagesOf } from "./licences.js";

/** `npm run sbom`: writes dist/sbom.cdx.json (CycloneDX, by npm) and dist/licences.txt. */

const sbom = execFileSync("npm", ["sbom", "--omit=dev", "--sbom-format", "cyclonedx"], {
  cwd: CHECKOUT,
  encoding: "utf8",
  maxBuffer: 64 << 20,
});
writeFileSync(join(CHECKOUT, "dist", "sbom.cdx.json"), sbom);
const lock = JSON.parse(readFileSync(join(CHECKOUT, "package-lock.json"), "utf8")) as Parameters<typeof packagesOf>[0];
writeFileSync(join(CHECKOUT, "dist", "licences.txt"), licenceList(packagesOf(lock)));
const { components } = JSON.parse(sbom) as { readonly components: readonly unknown[] };
console.log(`wrote dist/sbom.cdx.json, ${components.length} components, and dist/licences.txt`);
