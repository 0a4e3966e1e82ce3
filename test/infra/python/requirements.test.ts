import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parseRequirements } from "../../../infra/python/requirements.js";
import { CHECKOUT } from "../../../workers/environment.js";

const HASH = `--hash=sha256:${"ab".repeat(32)}`;

test("a package's lines belong together, also those for other versions of Python", () => {
  const list = `# made by a tool\none==1.0 \\\n    ${HASH} \\\n    ${HASH}\ntwo==1.0 ; python_full_version < '3.12' \\\n    ${HASH}\n    # a remark\ntwo==2.0 \\\n    ${HASH}\n`;
  const [one, two, ...more] = parseRequirements(list);
  assert.deepEqual(more, []);
  assert.deepEqual([one!.name, one!.version, one!.text], ["one", "1.0", `one==1.0 \\\n    ${HASH} \\\n    ${HASH}\n`]);
  assert.equal(two!.version, "2.0");
  assert.equal(two!.text.match(/--hash/g)!.length, 2);
});

test("a package without an exact version or a digest is refused", () => {
  assert.throws(() => parseRequirements(`one>=1.0 ${HASH}\n`), /no exact version or digest \[got=one>=1\.0/);
  assert.throws(() => parseRequirements("one==1.0\n"), /no exact version or digest/);
});

test("DeepSpeed's locked list has a digest for each package that its list names", () => {
  const read = (name: string): string => readFileSync(join(CHECKOUT, "engines", "deepspeed", name), "utf8");
  const packages = parseRequirements(read("requirements.lock"));
  const locked = new Map(packages.map(({ name, version }) => [name, version]));
  const named = [...read("requirements.txt").matchAll(/^([\w.-]+)==(\S+)$/gm)];
  assert.ok(named.length > 40);
  for (const [, name, version] of named) assert.equal(locked.get(name!), version, name);
  // elsewhere they don't exist, and torch needs none of them
  const ofNvidia = packages.filter(({ name }) => /^(nvidia|cuda)-|^triton$/.test(name));
  assert.ok(ofNvidia.length > 15);
  for (const { name, text } of ofNvidia) assert.match(text, /sys_platform == 'linux'/, name);
});
