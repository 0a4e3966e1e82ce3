/** A repository on the hub that a model is published to: `hf://owner/name`, without a revision, because publishing chooses it. */

/** What a target on the hub must look like. */
const EXPECTED = "hf://owner/name";

/** What is wrong with a target on the hub; null: nothing. */
export function hubTargetProblem(target: string): string | null {
  const path = target.replace(/^hf:\/\//, "");
  if (path.includes("@"))
    return `must be ${EXPECTED} without a revision: what is live is on main, each model has a tag of its name, and one that fails the gate a branch`;
  const [owner = "", name = "", ...more] = path.split("/");
  if (owner === "datasets" || owner === "spaces" || owner === "models")
    return `must be ${EXPECTED}: models are published to model repositories only, without ${owner}/ before the owner`;
  if (owner === "" || name === "") return `must be ${EXPECTED}: ${name === "" ? "the repository's name" : "its owner"} is missing`;
  if (more.length > 0) return `must be ${EXPECTED}: a repository has no directories below it to publish to`;
  return partProblem("owner", owner) ?? partProblem("name", name) ?? (path.length > 96 ? "may have 96 characters at most" : null);
}

/** The hub's own rules. */
function partProblem(what: string, part: string): string | null {
  const problem = (why: string): string => `must be ${EXPECTED}: the ${what} ${JSON.stringify(part)} ${why}`;
  if (!/^[\w.-]+$/.test(part)) return problem("may have letters, digits, -, _ and . only");
  if (/^[-.]|[-.]$/.test(part)) return problem("may neither begin nor end with - or .");
  if (/--|\.\./.test(part)) return problem("may have neither -- nor ..");
  if (part.endsWith(".git")) return problem("may not end with .git");
  return null;
}

/** Owner and name of the repository that a target on the hub names: `owner/name`; null: the target is elsewhere. */
export function hubTargetId(target: string): string | null {
  return target.startsWith("hf://") ? target.slice("hf://".length) : null;
}
