import { UserError } from "../errors.js";
import type { TokenizerJson } from "./tokenizer-json.js";

/** Ids that a tokenizer puts before and after a text by itself, such as BOS. */
export interface Around {
  readonly before: readonly number[];
  readonly after: readonly number[];
}

type Processor = NonNullable<TokenizerJson["post_processor"]>;

/** The ids that a tokenizer.json's post-processor puts around one text. Throws UserError for a template that Roslin can't follow. `where`: the file's name. */
export function aroundOf(processor: Processor | null | undefined, where: string): Around {
  const fail = (field: string, problem: string): never => {
    throw new UserError("this tokenizer.json has what Roslin doesn't carry out", {
      file: where,
      field: `post_processor.${field}`,
      problem,
    });
  };
  switch (processor?.type) {
    case "BertProcessing":
    case "RobertaProcessing":
      return { before: [processor.cls[1]], after: [processor.sep[1]] };
    case "TemplateProcessing": {
      const ids = processor.single.map((piece) => {
        if ("Sequence" in piece) return piece.Sequence.id === "A" ? null : fail("single", "a template of one text with the text B");
        const { id } = piece.SpecialToken;
        return processor.special_tokens[id]?.ids ?? fail("special_tokens", `the template's token ${id} is missing`);
      });
      const at = ids.indexOf(null);
      if (at < 0 || ids.lastIndexOf(null) !== at) return fail("single", "a template that doesn't have its text once");
      return { before: ids.slice(0, at).flatMap((some) => some!), after: ids.slice(at + 1).flatMap((some) => some!) };
    }
    case "Sequence": {
      const adding = processor.processors.filter(({ type }) => type !== "ByteLevel");
      // a second one would take each token of the first for a text
      return adding.length > 1 ? fail("processors", "more than one that adds tokens") : aroundOf(adding[0], where);
    }
    default:
      return { before: [], after: [] };
  }
}
