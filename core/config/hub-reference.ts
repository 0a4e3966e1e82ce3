import { UserError } from "../errors.js";

/** A repository on the hub, as `hf://owner/name@revision` says it; the revision is a branch, tag or commit. */
export interface HubReference {
  readonly kind: "models" | "datasets";
  /** owner/name, or a bare name as a few old repositories have */
  readonly id: string;
  readonly revision: string;
}

/** Reads `hf://owner/name@revision` (without a revision: main); throws UserError that names the source. */
export function parseHubSource(kind: HubReference["kind"], source: string): HubReference {
  const match = /^hf:\/\/((?:[\w][\w.-]*\/)?[\w][\w.-]*)(?:@([\w][\w./-]*))?$/.exec(source);
  const [, id, revision = "main"] = match ?? [];
  if (id === undefined || source.includes(".."))
    throw new UserError("a hub source is malformed", { expected: "hf://owner/name or hf://owner/name@revision", got: source });
  return { kind, id, revision };
}
