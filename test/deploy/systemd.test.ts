import assert from "node:assert/strict";
import { test } from "node:test";
import { WORKER_GRACE_MS } from "../../cli/machine/local-machine.js";
import { isCommand, isRead, read } from "./deploy.js";

/** A unit's settings by section, each with all its values. */
function parseUnit(text: string): Map<string, Map<string, string[]>> {
  const sections = new Map<string, Map<string, string[]>>();
  let section: Map<string, string[]> | undefined;
  for (const line of text.split("\n")) {
    if (line.trim() === "" || line.startsWith("#")) continue;
    const head = /^\[(\w+)\]$/.exec(line)?.[1];
    if (head !== undefined) sections.set(head, (section = new Map()));
    else {
      const [, key, value] = /^([A-Za-z]+)=(.+)$/.exec(line) ?? assert.fail(`not a setting: ${line}`);
      section!.set(key!, [...(section!.get(key!) ?? []), value!]);
    }
  }
  return sections;
}

const unit = parseUnit(read("deploy", "systemd", "roslin.service"));
const service = (key: string): string => {
  const values = unit.get("Service")!.get(key) ?? [];
  assert.equal(values.length, 1, key);
  return values[0]!;
};

test("the unit has its three sections, and starts when the machine has started", () => {
  assert.deepEqual([...unit.keys()], ["Unit", "Service", "Install"]);
  assert.deepEqual(unit.get("Install")!.get("WantedBy"), ["multi-user.target"]);
});

test("its commands are Roslin's, from the checkout that it works in", async () => {
  for (const key of ["ExecStartPre", "ExecStart"]) {
    const [, directory, file, args] = /^\/usr\/bin\/env node (\/opt\/roslin)\/(\S+) (.*)$/.exec(service(key))!;
    assert.equal(directory, service("WorkingDirectory"));
    assert.ok(read(file!).includes("dist/cli/main.js"));
    assert.ok(await isCommand(args!.split(" ")), args);
  }
  assert.equal(await isCommand(["up", "--gpu-workers"]), false);
});

test("workers have the time to save, and only up is asked to stop", () => {
  assert.ok(Number(service("TimeoutStopSec")) * 1000 >= WORKER_GRACE_MS + 60_000);
  assert.equal(service("KillMode"), "mixed");
  assert.equal(service("TimeoutStartSec"), "infinity");
});

test("a rank that the system kills for memory does not end the others", () => {
  assert.equal(service("OOMPolicy"), "continue");
});

test("its variables mean something to Roslin, and its home is the directory that it may write", () => {
  const file = read("deploy", "systemd", "environment");
  const variables = [...file.matchAll(/^#?([A-Z][A-Z0-9_]*)=(.*)$/gm)];
  assert.ok(variables.length >= 9);
  assert.deepEqual(
    variables.map(([, name]) => name!).filter((name) => !isRead(name)),
    [],
  );
  assert.equal(variables.find(([, name]) => name === "ROSLIN_HOME")![2], `/var/lib/${service("StateDirectory")}`);
  assert.match(file, new RegExp(`^# ${service("EnvironmentFile")}: `));
});
