import { fileURLToPath } from "node:url";
import { writeFile } from "node:fs/promises";
import { bundleWorkflowCode, type WorkflowBundleWithSourceMap } from "@temporalio/worker";

/** Path of the workflows' code, bundled for Temporal's sandbox by the build: `dist/workflow-bundle.js`. */
export const BUNDLE: string = fileURLToPath(new URL("../workflow-bundle.js", import.meta.url));

/** Bundles the compiled workflows. Throws when one of them imports a Node built-in. */
export async function bundleWorkflows(): Promise<WorkflowBundleWithSourceMap> {
  return bundleWorkflowCode({
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
