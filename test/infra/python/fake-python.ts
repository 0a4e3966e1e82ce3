import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** A stand-in for Python with pip: it makes directories as `venv` does, and notes what it is asked to install. */

/** What a fake Python does; it reads this from its variables. */
export interface Behaviour {
  /** what it says of itself, such as "3.12.4" */
  readonly FAKE_VERSION?: string;
  readonly FAKE_WITHOUT_VENV?: "1";
  /** a package whose installation fails, and what is said then */
  readonly FAKE_BROKEN?: string;
  readonly FAKE_STDERR?: string;
  /** a package whose installation never ends */
  readonly FAKE_HANGING?: string;
  /** what the check prints; absent: it fails */
  readonly FAKE_CHECK?: string;
}

const SOURCE = (log: string): string => `#!${process.execPath}
const { appendFileSync, mkdirSync, readFileSync, realpathSync, symlinkSync, writeFileSync } = require("node:fs");
const { join } = require("node:path");
const [first, second, third, ...rest] = process.argv.slice(2);
const { env } = process;
const fail = (words) => { process.stderr.write(words + "\\n"); process.exit(1); };
const note = (line) => appendFileSync(${JSON.stringify(log)}, line + "\\n");
const option = (name) => rest[rest.indexOf(name) + 1];
if (first === "-c" && second.includes("import venv")) {
  console.log(env.FAKE_VERSION ?? "3.12.4");
  if (env.FAKE_WITHOUT_VENV) fail("ModuleNotFoundError: No module named 'venv'");
} else if (first === "-m" && second === "venv") {
  const directory = rest.at(-1);
  mkdirSync(join(directory, "bin"), { recursive: true });
  symlinkSync(realpathSync(process.argv[1]), join(directory, "bin", "python"));
} else if (first === "-c" && second.includes("run_module")) {
  if (third === "download") writeFileSync(join(option("--dest"), "pip.whl"), "");
  else {
    const list = readFileSync(option("--requirement"), "utf8");
    const names = list.match(/^[\\w.-]+(?===)/gm);
    if (names.includes(env.FAKE_BROKEN)) fail(env.FAKE_STDERR ?? "broken");
    if (names.includes(env.FAKE_HANGING)) {
      note("hanging");
      setInterval(() => {}, 1000);
    } else note(names.join(" ") + (env.BUILD === undefined ? "" : " built with " + env.BUILD));
  }
} else if (first === "-c") {
  if (env.FAKE_CHECK === undefined) fail("ImportError: libcudart.so.13: cannot open shared object file");
  console.log("a warning\\n" + env.FAKE_CHECK);
}
`;

/** Fake Pythons in a directory for a PATH; `installed` lists what they have installed, one call a line. */
export function makeFakes(directory: string, programs: readonly string[] = ["python3"]): { readonly installed: () => string[] } {
  const log = join(directory, "log");
  mkdirSync(directory, { recursive: true });
  writeFileSync(log, "");
  for (const program of programs) {
    writeFileSync(join(directory, program), SOURCE(log));
    chmodSync(join(directory, program), 0o755);
  }
  return {
    installed: () =>
      readFileSync(log, "utf8")
        .split("\n")
        .filter((line) => line !== ""),
  };
}
