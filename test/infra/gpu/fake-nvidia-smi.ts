import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Puts an nvidia-smi into a directory for a PATH that prints these words and ends with this exit code. */
export function fakeNvidiaSmi(directory: string, words: string, exitCode = 0): void {
  mkdirSync(directory, { recursive: true });
  const file = join(directory, "nvidia-smi");
  writeFileSync(file, `#!${process.execPath}\nprocess.stdout.write(${JSON.stringify(words)});\nprocess.exitCode = ${exitCode};\n`);
  chmodSync(file, 0o755);
}

/**
 * What nvidia-smi prints for the query in infra/gpu/nvidia-smi.ts, written by hand from NVIDIA's description of its fields
 * and formats: none of it was recorded on a machine with a GPU.
 */
export const TABLES = {
  two: [
    "0, GPU-5c1f2b3a-0d5e-4c55-9d5e-8b9f6a2c1e01, NVIDIA A100-SXM4-80GB, 81920, 4, 535.104.05, Default, 0, Disabled",
    "1, GPU-77d0e1c2-93aa-4e0b-8c57-2f1b7c9d4e02, NVIDIA A100-SXM4-80GB, 81920, 612, 535.104.05, Default, 0, Disabled\n",
  ].join("\n"),
  workstation: "0, GPU-0a1b2c3d-1111-2222-3333-444455556666, NVIDIA GeForce RTX 4090, 24564, 355, 550.54.14, Default, [N/A], [N/A]\n",
  odd: [
    "0, GPU-aaaaaaaa-0000-0000-0000-000000000001, NVIDIA H100 80GB HBM3, 81559, 0, 550.54.14, Prohibited, 0, Disabled",
    "1, GPU-bbbbbbbb-0000-0000-0000-000000000002, NVIDIA H100 80GB HBM3, 81559, 0, 550.54.14, Default, 0, Enabled",
    "2, GPU-cccccccc-0000-0000-0000-000000000003, NVIDIA H100 80GB HBM3, 81559, 0, 550.54.14, Exclusive_Process, 3, Disabled\n",
  ].join("\n"),
  noDriver:
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA driver is installed and running.\n\n",
  none: "No devices were found\n",
} as const;
