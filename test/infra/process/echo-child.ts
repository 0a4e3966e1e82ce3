import { serve } from "../../../infra/process/thread.js";
import { UserError } from "../../../core/errors.js";

/** A thread for tests: repeats what it is asked, or fails or ends as it is asked to. */
const notes: string[] = [];
serve(
  async (question: string, say: (news: string) => void) => {
    if (question === "refuse") throw new UserError("refused", { got: question });
    if (question === "leave") process.exit(0);
    if (question === "break")
      setImmediate(() => {
        throw new Error("broken");
      });
    if (question === "break" || question === "wait") await new Promise(() => undefined);
    say(`thinking about ${question}`);
    await Promise.resolve();
    return [...notes.splice(0), question].join(", ");
  },
  (note: string) => notes.push(note),
);
