import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parse, parseAllDocuments } from "yaml";
import type { z } from "zod";
import { WORKER_GRACE_MS } from "../../cli/machine/local-machine.js";
import { CHECKOUT } from "../../workers/environment.js";
import { isCommand, isRead, read } from "./deploy.js";
import { Kustomization, Manifest, StatefulSet } from "./kinds.js";

const FOLDER = join("deploy", "kubernetes");
const files = readdirSync(join(CHECKOUT, FOLDER)).filter((name) => name !== "kustomization.yaml");
const documents = files.flatMap((name) => parseAllDocuments(read(FOLDER, name)).map((document) => document.toJS() as { kind: string }));
const manifests = documents.map((document) => Manifest.parse(document));
const kustomization = Kustomization.parse(parse(read(FOLDER, "kustomization.yaml")));

function only<Kind extends z.infer<typeof Manifest>["kind"]>(kind: Kind): Extract<z.infer<typeof Manifest>, { kind: Kind }> {
  const found = manifests.filter((each) => each.kind === kind);
  assert.equal(found.length, 1, kind);
  return found[0] as Extract<z.infer<typeof Manifest>, { kind: Kind }>;
}
const hosts = only("StatefulSet");
const pod = hosts.spec.template.spec;
const containers = [...pod.initContainers, ...pod.containers];
const up = pod.containers[0]!;

test("every file is listed, and every name in the list is a file", () => {
  assert.deepEqual([...kustomization.resources].sort(), files.sort());
});

test("a field that is misspelt, or in the wrong place, is found", () => {
  const { spec, ...rest } = hosts;
  assert.equal(StatefulSet.safeParse({ ...rest, spec: { ...spec, replica: 3 } }).success, false);
  assert.equal(StatefulSet.safeParse({ ...rest, spec: { ...spec, serviceName: undefined } }).success, false);
  assert.equal(Manifest.safeParse({ ...rest, apiVersion: "apps/v2", spec }).success, false);
});

test("the image is the one that the Dockerfile's words build, of this version", () => {
  const { version } = JSON.parse(read("package.json")) as { version: string };
  const [{ name, newName, newTag }] = kustomization.images as [(typeof kustomization.images)[number]];
  for (const { image } of containers) assert.equal(image, name);
  assert.equal(newTag, version);
  assert.match(read("deploy", "Dockerfile"), new RegExp(`--tag ${newName}:${newTag} `));
  const entry = /^ENTRYPOINT \["tini", "--", "node", "\/opt\/roslin\/(.*)"\]$/m.exec(read("deploy", "Dockerfile"))![1]!;
  assert.ok(read(entry).includes("dist/cli/main.js"));
  assert.match(read("deploy", "Dockerfile"), /^WORKDIR \/opt\/roslin$/m);
});

test("every container calls a command that exists, and so do the probes", async () => {
  for (const { args } of containers) assert.ok(await isCommand(args), args.join(" "));
  const probes = [up.startupProbe, up.readinessProbe].map((probe) => probe!.exec.command.join(" "));
  for (const command of probes) {
    const [, file, args] = /node \/opt\/roslin\/(\S+) (.*?) \|/.exec(command)!;
    assert.ok(read(file!).length > 0);
    assert.ok(await isCommand(args!.split(" ")), command);
  }
});

test("the volumes, settings, labels and the service that are named exist", () => {
  const volumes = [...pod.volumes.map(({ name }) => name), ...hosts.spec.volumeClaimTemplates.map(({ metadata }) => metadata.name)];
  for (const { volumeMounts } of containers) for (const { name } of volumeMounts) assert.ok(volumes.includes(name), name);
  const { labels } = hosts.spec.template.metadata;
  const selectors = [
    hosts.spec.selector.matchLabels,
    only("Service").spec.selector,
    only("PodDisruptionBudget").spec.selector.matchLabels,
    only("NetworkPolicy").spec.podSelector.matchLabels,
    ...only("NetworkPolicy").spec.ingress.flatMap(({ from }) => from.map(({ podSelector }) => podSelector.matchLabels)),
    ...pod.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution.map(({ labelSelector }) => labelSelector.matchLabels),
  ];
  for (const selector of selectors) assert.deepEqual(selector, labels);
  assert.equal(hosts.spec.serviceName, only("Service").metadata.name);
  assert.equal(kustomization.namespace, only("Namespace").metadata.name);
  const settings = up.envFrom!.flatMap((each) => ("configMapRef" in each ? [each.configMapRef.name] : []));
  assert.deepEqual(settings, [only("ConfigMap").metadata.name]);
  // a Secret is made by hand: the page says how
  for (const each of up.envFrom!)
    if ("secretRef" in each) assert.match(read("docs", "gpus.md"), new RegExp(`create secret generic ${each.secretRef.name} `));
});

test("every variable means something to Roslin", () => {
  const names = [...Object.keys(only("ConfigMap").data), ...up.env!.map(({ name }) => name)];
  assert.deepEqual(
    names.filter((name) => !isRead(name)),
    [],
  );
  assert.ok(!isRead("ROSLIN_BUCKETS"));
});

test("a pod has longer to stop than its workers, and each host one pod with all its GPUs and memory to share", () => {
  assert.ok(pod.terminationGracePeriodSeconds * 1000 >= WORKER_GRACE_MS + 60_000);
  assert.equal(hosts.spec.replicas * Number(up.resources.limits["nvidia.com/gpu"]), 16);
  assert.equal(up.resources.requests["nvidia.com/gpu"], up.resources.limits["nvidia.com/gpu"]);
  assert.ok(up.volumeMounts.some(({ mountPath }) => mountPath === "/dev/shm"));
  const home = up.volumeMounts.find(({ name }) => name === "home")!.mountPath;
  assert.match(read("deploy", "Dockerfile"), new RegExp(`ROSLIN_HOME=${home} `));
  for (const { volumeMounts } of containers) assert.ok(volumeMounts.some(({ mountPath }) => mountPath === home));
});

test("ranks of one pod reach those of the other at any port, and nobody else does", () => {
  const from = (name: string): string => up.env!.find((each) => each.name === name)!.valueFrom.fieldRef.fieldPath;
  assert.equal(from("ROSLIN_ADDRESS"), "status.podIP");
  assert.equal(from("ROSLIN_HOST"), "metadata.name");
  // a rule that named a port would open that one alone
  assert.deepEqual(
    only("NetworkPolicy").spec.ingress.map((rule) => Object.keys(rule)),
    [["from"]],
  );
  assert.deepEqual(only("NetworkPolicy").spec.policyTypes, ["Ingress"]);
  assert.equal(only("Service").spec.publishNotReadyAddresses, true);
});

test("a drain takes one host at a time", () => {
  assert.ok(only("PodDisruptionBudget").spec.maxUnavailable < hosts.spec.replicas);
});
