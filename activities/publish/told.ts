import { CARD, PAGE, type Manifest } from "../../core/format/manifest.js";

/**
 * The published files that tell what happened to their run: the only ones that differ between runs that came to the same
 * model. All of those runs publish the first one's, and so one manifest.
 */
export const TOLD = [CARD, PAGE] as const;

/** What messages call them. */
export const TOLD_WORDS: Readonly<Record<(typeof TOLD)[number], string>> = { [CARD]: "card", [PAGE]: "report" };

/** A manifest without them: equal for all runs that came to the same model. */
export function withoutTold(manifest: Manifest): Manifest {
  return { ...manifest, files: manifest.files.filter(({ name }) => !(TOLD as readonly string[]).includes(name)) };
}

/** A file's digest; undefined if the manifest has no such file. */
export function digestIn({ files }: Manifest, file: string): string | undefined {
  return files.find(({ name }) => name === file)?.sha256;
}

/** A manifest in which a file has other bytes. */
export function withFile(manifest: Manifest, name: string, bytes: { readonly sha256: string; readonly bytes: number }): Manifest {
  return { ...manifest, files: manifest.files.map((file) => (file.name === name ? { ...file, ...bytes } : file)) };
}
