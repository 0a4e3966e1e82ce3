import { z } from "zod";

/** How a published model is signed; null: it is not. Only the worker that publishes reads the key and its passphrase. */
export const signSection = z
  .strictObject({
    key: z
      .string()
      .regex(/^(env:[A-Za-z_]\w*|file:\/\/\/.+)$/, "must be env:NAME or file:///path")
      .describe("The private key in PEM (ECDSA on P-256, P-384 or P-521): `env:NAME`, a variable with its text, or `file:///path`."),
    passphrase: z
      .string()
      .regex(/^env:[A-Za-z_]\w*$/, "must be env:NAME")
      .nullable()
      .default(null)
      .describe("The variable with the passphrase of an encrypted key, `env:NAME`; null: the key is not encrypted."),
  })
  .nullable()
  .prefault(null)
  .describe("Signs what is published, in the format of OpenSSF model signing and as SLSA provenance; null: no signature.");

/** A run's settings of signing. */
export type SignSettings = NonNullable<z.infer<typeof signSection>>;
