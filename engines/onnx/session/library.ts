import { readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import koffi from "koffi";

/**
 * onnxruntime's C functions, from the library that onnxruntime-node ships. Its own binding writes every output twice:
 * a training head's logits cost more to copy than to compute.
 */

const root = dirname(createRequire(import.meta.url).resolve("onnxruntime-node/package.json"));
const binaries = readdirSync(join(root, "bin")).map((name) => join(root, "bin", name, process.platform, process.arch))[0]!;
const path = join(binaries, process.platform === "darwin" ? "libonnxruntime.1.dylib" : "libonnxruntime.so.1");
const system = koffi.load(null);
// it sends usage data home and leaves a log in /tmp, unless this is in the process's own environment, which a thread's process.env is not
const KEEP = 0;
system.func("int setenv(const char *name, const char *value, int overwrite)")("ORT_DISABLE_TELEMETRY", "1", KEEP);
const library = koffi.load(path);
// koffi unloads a library with its last user, a thread say; functions and threads of this one may be alive then
const LOAD_NOW = 2;
system.func("void *dlopen(const char *path, int flags)")(path, LOAD_NOW);

/** A version whose table of functions later ones only lengthen. */
const API_VERSION = 17;
/** Places in that table; the C header lists them in this order. */
const LAST = 210;
const getBase = library.func("void *OrtGetApiBase()");
const getApi = koffi.decode(getBase(), "void *") as bigint;
const table = koffi.decode(koffi.call(getApi, koffi.proto("void *", ["uint32_t"]), API_VERSION), "void *", LAST + 1) as bigint[];

const getMessage = koffi.proto("const char *", ["void *"]);
const release = koffi.proto("void", ["void *"]);

/** Memory that a C function reads or writes during the call, or an address. */
type Pointer = NodeJS.TypedArray | bigint | null;

/** A function that gives a status: a failure becomes an Error. */
function checked<Args extends (Pointer | number | string)[]>(
  index: number,
  ...types: { [At in keyof Args]: string }
): (...args: Args) => void {
  const type = koffi.proto("void *", types);
  return (...args) => {
    const status = koffi.call(table[index], type, ...args) as bigint | null;
    if (!status) return;
    const message = koffi.call(table[2], getMessage, status) as string;
    koffi.call(table[93], release, status);
    throw new Error(`onnxruntime: ${message}`);
  };
}

const releaser = (index: number) => (pointer: bigint) => void koffi.call(table[index], release, pointer);

const POINTER = "void *";
/** `CreateEnv` of the C API. */
export const createEnvironment = checked<[level: number, name: string, out: Pointer]>(3, "int", "const char *", POINTER);
/** `CreateSessionFromArray` of the C API. */
export const createSessionFromBytes = checked<[environment: bigint, bytes: Uint8Array, length: number, options: bigint, out: Pointer]>(
  8,
  POINTER,
  POINTER,
  "size_t",
  POINTER,
  POINTER,
);
/** `Run` of the C API. */
export const runSession = checked<
  [
    session: bigint,
    options: null,
    inputNames: Pointer,
    inputs: Pointer,
    inputCount: number,
    outputNames: Pointer,
    outputCount: number,
    outputs: Pointer,
  ]
>(9, POINTER, POINTER, POINTER, POINTER, "size_t", POINTER, "size_t", POINTER);
/** `CreateSessionOptions` of the C API. */
export const createOptions = checked<[out: Pointer]>(10, POINTER);
/** `DisableMemPattern` of the C API. */
export const disableMemoryPattern = checked<[options: bigint]>(17, POINTER);
/** `DisableCpuMemArena` of the C API. */
export const disableArena = checked<[options: bigint]>(19, POINTER);
/** `SetIntraOpNumThreads` of the C API. */
export const setThreads = checked<[options: bigint, threads: number]>(24, POINTER, "int");
/** `CreateTensorWithDataAsOrtValue` of the C API. */
export const createTensor = checked<
  [memory: bigint, data: NodeJS.TypedArray, bytes: number, shape: Pointer, rank: number, type: number, out: Pointer]
>(49, POINTER, POINTER, "size_t", POINTER, "size_t", "int", POINTER);
/** `GetTensorMutableData` of the C API. */
export const getData = checked<[value: bigint, out: Pointer]>(51, POINTER, POINTER);
/** `GetDimensionsCount` of the C API. */
export const getRank = checked<[info: bigint, out: Pointer]>(61, POINTER, POINTER);
/** `GetDimensions` of the C API. */
export const getShape = checked<[info: bigint, shape: Pointer, rank: number]>(62, POINTER, POINTER, "size_t");
/** `GetTensorTypeAndShape` of the C API. */
export const getShapeInfo = checked<[value: bigint, out: Pointer]>(65, POINTER, POINTER);
/** `CreateCpuMemoryInfo` of the C API. */
export const createCpuMemory = checked<[allocator: number, kind: number, out: Pointer]>(69, "int", "int", POINTER);
/** `ReleaseSession` of the C API. */
export const releaseSession = releaser(95);
/** `ReleaseValue` of the C API. */
export const releaseValue = releaser(96);
/** `ReleaseTensorTypeAndShapeInfo` of the C API. */
export const releaseShapeInfo = releaser(99);
/** `ReleaseSessionOptions` of the C API. */
export const releaseOptions = releaser(100);
/** `AddSessionConfigEntry` of the C API. */
export const setConfig = checked<[options: bigint, key: string, value: string]>(130, POINTER, "const char *", "const char *");
/** `AddExternalInitializers` of the C API; their memory must outlive the session. */
export const addInitializers = checked<[options: bigint, names: Pointer, values: Pointer, count: number]>(
  LAST,
  POINTER,
  POINTER,
  POINTER,
  "size_t",
);

/** Copies bytes from an address. */
export const copyFrom = system.func("memcpy", POINTER, [POINTER, POINTER, "size_t"]) as (
  to: NodeJS.TypedArray,
  from: bigint,
  bytes: number,
) => void;
