import { UserError } from "../../core/errors.js";
import { runPython, type PythonError, type PythonRun } from "./pip.js";

/** A Python on this machine that environments can be made with. */
export interface Python {
  /** its program, as a path or a name on PATH */
  readonly program: string;
  /** such as "3.12.4" */
  readonly version: string;
}

/** The minor versions of Python 3 that locked packages have wheels of. */
export interface PythonRange {
  readonly least: number;
  readonly most: number;
}

/** Says a Python's version; fails where the module that makes environments is missing. */
const PROBE = `
import sys, sysconfig
print("%d.%d.%d" % sys.version_info[:3], "free-threaded" if sysconfig.get_config_var("Py_GIL_DISABLED") else "")
import venv
`;

/** The first Python on PATH that fits: python3, then those whose name has a version, newest first. Throws UserError that names what was found. */
export async function findPython(title: string, range: PythonRange, run: PythonRun): Promise<Python> {
  const versions = Array.from({ length: range.most - range.least + 1 }, (_, index) => `python3.${range.most - index}`);
  const found: string[] = [];
  for (const program of ["python3", ...versions]) {
    let said = "";
    const why = await runPython(program, ["-c", PROBE], { ...run, hear: (line) => (said = line) }).then(
      () => "",
      (error: PythonError) => {
        run.signal.throwIfAborted();
        return error.code === "ENOENT" ? null : "without the module venv";
      },
    );
    const [version, kind] = said.trim().split(" ");
    const minor = Number(/^3\.(\d+)\./.exec(version ?? "")?.[1] ?? Number.NaN);
    // a version manager's stand-in for a version that is not there says nothing
    if (why === null || Number.isNaN(minor)) continue;
    const fits = minor >= range.least && minor <= range.most;
    if (fits && why === "" && kind === undefined) return { program, version: version! };
    found.push([program, "is", version, fits && why !== "" ? why : kind].filter((word) => word !== undefined).join(" "));
  }
  const wanted = `Python 3.${range.least} to 3.${range.most}`;
  throw new UserError(
    found.length === 0
      ? `${title} needs ${wanted} with pip, and no Python is on PATH: install it (Debian and Ubuntu: apt install python3 python3-pip)`
      : `${title} needs ${wanted} with its module venv, and no such Python is on PATH: install it beside the others`,
    found.length === 0 ? {} : { found: found.join(", ") },
  );
}
