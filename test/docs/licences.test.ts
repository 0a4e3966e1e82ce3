import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { CHECKOUT } from "../../workers/environment.js";
import { isPermissive, licenceList, packagesOf, type Package } from "./licences.js";

test("every package that an installation gets names a permissive licence", () => {
  const lock = JSON.parse(readFileSync(join(CHECKOUT, "package-lock.json"), "utf8")) as Parameters<typeof packagesOf>[0];
  const packages = packagesOf(lock);
  assert.ok(packages.length > 50);
  const others = packages.filter((each) => !isPermissive(each)).map(({ name, licence }) => `${name} ${licence}`.trim());
  // data that asks for a credit; and a package whose licence, the Unlicense, lies beside it
  assert.deepEqual(others, ["caniuse-lite CC-BY-4.0", "unionfs"]);
  assert.match(licenceList(packages), /^Apache-2\.0 \(\d+\)\n {2}weed/m);
});

test("a package without a licence, or with none that is permissive, is found", () => {
  const named = (licence: string): Package => ({ name: "x", version: "1", licence });
  for (const licence of ["", "GPL-3.0", "MIT AND GPL-3.0", "SEE LICENSE IN x"]) assert.equal(isPermissive(named(licence)), false);
  for (const licence of ["MIT", "(GPL-2.0 OR MIT)", "Apache-2.0 AND MIT"]) assert.equal(isPermissive(named(licence)), true);
});
