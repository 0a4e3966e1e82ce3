/**
 * One class for each reaction. Temporal sees a class's name as the failure's type, so the retry policy
 * names these classes and pure code needs no import of Temporal.
 */

type Details = Readonly<Record<string, string | number | boolean | null | undefined>>;

/** "message [key=value, …]": what failed, then where, expected and got. */
function withDetails(message: string, details: Details): string {
  const pairs = Object.entries(details).filter(([, value]) => value !== undefined);
  return pairs.length === 0 ? message : `${message} [${pairs.map(([key, value]) => `${key}=${value}`).join(", ")}]`;
}

/** An error whose message ends with its details. */
class DetailedError extends Error {
  constructor(message: string, details: Details = {}, options?: ErrorOptions) {
    super(withDetails(message, details), options);
  }
}

/** What the user must correct: never retried, exit code 2. */
export class UserError extends DetailedError {
  override readonly name: string = "UserError";
}

/** The credentials lack a right; `right` names it. */
export class ForbiddenError extends UserError {
  override readonly name = "ForbiddenError";
  readonly right: string;
  constructor(right: string, message: string, details: Details = {}, options?: ErrorOptions) {
    super(message, details, options);
    this.right = right;
  }
}

/** Wrong fields of a RunConfig, all of them. */
export class ConfigError extends UserError {
  override readonly name = "ConfigError";
  readonly problems: readonly string[];
  constructor(problems: readonly string[]) {
    super(
      problems.length === 1
        ? `the configuration is wrong: ${problems[0]}`
        : `the configuration has ${problems.length} problems:\n${problems.map((problem) => `  - ${problem}`).join("\n")}`,
    );
    this.problems = problems;
  }
}

/** Too little memory or disk for work that has begun here already. The process that took it may give it back, so a run in Temporal tries again. */
export class NoRoomError extends UserError {
  override readonly name = "NoRoomError";
}

/** The disk is full: a run in Temporal goes on by itself when there is room again. */
export class DiskFullError extends Error {
  override readonly name = "DiskFullError";
}

/** What an earlier stage left has changed: that stage has to run again. A run in Temporal does so by itself. */
export class ChangedInputError extends UserError {
  override readonly name = "ChangedInputError";
}

/** Bytes that are not what their manifest, digest or format says: set aside, and made or fetched again. */
export class CorruptError extends DetailedError {
  override readonly name = "CorruptError";
}

/** A place could not be reached, or kept failing: another try, later, may succeed. */
export class UnreachableError extends Error {
  override readonly name = "UnreachableError";
}

/** Another attempt owns the work now: stop at once and write nothing more. */
export class FencedError extends DetailedError {
  override readonly name = "FencedError";
}

/** Another worker of a training attempt is gone: the attempt ends, and the next one starts from the last checkpoint. */
export class PeerLostError extends Error {
  override readonly name = "PeerLostError";
}

/** A training process, or the compute thread or process of one, ended without a word: the attempt ends, as for a lost peer. */
export class WorkerDiedError extends Error {
  override readonly name = "WorkerDiedError";
}

/** Work was asked to stop and had nothing to save; the one that asked decides when it goes on. */
export class StoppedError extends Error {
  override readonly name = "StoppedError";
}

/** How an error that came as a name and a message is made again; `final`: no other try of the same work can help. */
interface Kind {
  readonly make: (message: string) => Error;
  readonly final: boolean;
}

/** Every class that crosses a thread, a process or Temporal. */
const KINDS = {
  UserError: { make: (message) => new UserError(message), final: true },
  // the right and the list of problems don't travel; the message names them
  ForbiddenError: { make: (message) => new ForbiddenError("", message), final: true },
  ConfigError: { make: (message) => new UserError(message), final: true },
  ChangedInputError: { make: (message) => new ChangedInputError(message), final: true },
  FencedError: { make: (message) => new FencedError(message), final: true },
  NoRoomError: { make: (message) => new NoRoomError(message), final: false },
  DiskFullError: { make: (message) => new DiskFullError(message), final: false },
  CorruptError: { make: (message) => new CorruptError(message), final: false },
  UnreachableError: { make: (message) => new UnreachableError(message), final: false },
  PeerLostError: { make: (message) => new PeerLostError(message), final: false },
  WorkerDiedError: { make: (message) => new WorkerDiedError(message), final: false },
  StoppedError: { make: (message) => new StoppedError(message), final: false },
} satisfies Readonly<Record<string, Kind>>;

/** The name of one of these classes, as a failure's type has it in Temporal. */
export type ErrorName = keyof typeof KINDS;

const isKnown = (name: string): name is ErrorName => Object.hasOwn(KINDS, name);

/** Names of the final classes, as a Temporal retry policy takes them. */
export const NON_RETRYABLE: readonly string[] = Object.keys(KINDS).filter((name) => isKnown(name) && KINDS[name].final);

class NamedError extends Error {
  override readonly name: string;
  constructor(name: string, message: string) {
    super(message);
    this.name = name;
  }
}

/** An error that came as words from another thread or process, as the class that decides the reaction. */
export function errorNamed(name: string, message: string): Error {
  return isKnown(name) ? KINDS[name].make(message) : new NamedError(name, message);
}

/** The message of anything thrown, with the causes that say more. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause === undefined ? "" : messageOf(error.cause);
  return cause === "" || error.message.includes(cause) ? error.message : `${error.message}: ${cause}`;
}
