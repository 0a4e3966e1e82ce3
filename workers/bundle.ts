import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { bundleWorkflowCode, type WorkflowBundleOption, type WorkflowBundleWithSourceMap } from "@temporalio/worker";
import { FAILURE_CONVERTER } from "./payload-codec.js";

/** Path of the workflows' code, bundled for Temporal's sandbox by the build: `dist/workflow-bundle.js`. */
export const BUNDLE: string = fileURLToPath(new URL("../workflow-bundle.js", import.meta.url));

/** The bundle for a worker: the build's, or where failures are encrypted, which few want, one that is made now. */
export async function workflowBundle(encrypted: boolean): Promise<WorkflowBundleOption> {
  return existsSync(BUNDLE) && !encrypted ? { codePath: BUNDLE } : await bundleWorkflows(encrypted);
}

/** Bundles the compiled workflows, `encrypted`: with failures that the codec encrypts. Throws when one of them imports a Node built-in. */
export async function bundleWorkflows(encrypted = false): Promise<WorkflowBundleWithSourceMap> {
  return bundleWorkflowCode({
    ...(encrypted && { failureConverterPath: FAILURE_CONVERTER }),
    workflowsPath: fileURLToPath(new URL("../workflows/index.js", import.meta.url)),
    logger: {
      log: () => undefined,
      trace: () => undefined,
      debug: () => undefined,
      info: () => undefined,
      warn: console.error,
      error: console.error,
    },
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await writeFile(BUNDLE, (await bundleWorkflows()).code);
