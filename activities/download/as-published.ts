import { UserError } from "../../core/errors.js";
import type { Published } from "../../infra/sources/published.js";

/** Throws UserError if a file of a model that was published on this machine has another digest than its manifest says. */
export function checkAsPublished({ manifest }: Published, file: string, got: string): void {
  const expected = manifest.files.find(({ name }) => name === file)?.sha256;
  if (got !== expected)
    throw new UserError("a file of the published model is not what its manifest says: publish the model again, or take another", {
      file,
      expected,
      got,
    });
}
