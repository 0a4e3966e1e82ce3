/** One package of a list that names exact versions and digests, in pip's own format. */
export interface Requirement {
  readonly name: string;
  /** such as "2.4.1"; the newest, where it depends on Python's version */
  readonly version: string;
  /** its lines of the list, with markers and digests */
  readonly text: string;
}

/** The packages of a locked list, in its order; lines of a package that depend on Python's version belong together. Throws an Error if a package has no version or digest. */
export function parseRequirements(list: string): Requirement[] {
  const packages = new Map<string, Requirement>();
  for (const text of list.replaceAll(/^\s*#.*\n/gm, "").split(/\n(?=\S)/)) {
    if (text.trim() === "") continue;
    const [, name, version] = /^([\w.-]+)==([^\s;\\]+)/.exec(text) ?? [];
    if (name === undefined || version === undefined || !/--hash=sha256:[0-9a-f]{64}/.test(text))
      throw new Error(`a locked package has no exact version or digest [got=${text.split("\n")[0]}]`);
    packages.set(name, { name, version, text: `${packages.get(name)?.text ?? ""}${text.trimEnd()}\n` });
  }
  return [...packages.values()];
}
