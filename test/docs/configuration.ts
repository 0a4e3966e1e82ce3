import { runConfigSchema } from "../../core/config/schema.js";

/** Two files of docs/, as the schema of a run's input says them: a page for readers, and a JSON Schema for editors. */
export function configurationFiles(): Readonly<Record<"docs/configuration.md" | "docs/config.schema.json", string>> {
  const schema = runConfigSchema() as Section;
  return { "docs/configuration.md": page(schema), "docs/config.schema.json": `${JSON.stringify(schema, null, 2)}\n` };
}

/** The parts of a field's JSON Schema that the page shows. */
interface Field {
  readonly type?: string;
  readonly enum?: readonly string[];
  readonly anyOf?: readonly Field[];
  readonly prefixItems?: readonly Field[];
  readonly properties?: Readonly<Record<string, Field>>;
  readonly items?: Field;
  readonly additionalProperties?: Field;
  readonly minimum?: number;
  readonly exclusiveMinimum?: number;
  readonly maximum?: number;
  readonly exclusiveMaximum?: number;
  readonly default?: unknown;
  readonly description?: string;
  readonly unit?: string;
}

type Section = Required<Pick<Field, "properties">>;

const HEAD = `# Settings of a run

\`npm run docs\` writes this page and [config.schema.json](config.schema.json) from \`core/config/schema.ts\`. Edit the schema, not the page.

A run's input is one JSON object. Every field is optional. The defaults are those of Dolly, an instruction-tuned GPT-J 6B: \`{}\` trains GPT-J 6B on Alpaca. An unknown or wrong field fails the run at once, and the message names every problem. [configure.md](configure.md) explains sources and environment variables, and [s3.md](s3.md) explains what a bucket does with the settings of \`publish\`.
`;

function page(schema: Section): string {
  const sections = Object.entries(schema.properties).map(([name, section]) => {
    const rows = fieldsBelow(name, section).map(
      ([path, field]) =>
        `| \`${path}\` | ${typeOf(field)} | \`${JSON.stringify(field.default)}\` | ${field.unit ?? ""} | ${described(path, field)} |`,
    );
    return [`## ${name}`, "", "| field | values | default | unit | meaning |", "|---|---|---|---|---|", ...rows, ""].join("\n");
  });
  return [HEAD, ...sections].join("\n");
}

/** Every field that takes a value, with its path; a section that may be null is one itself. */
function fieldsBelow(path: string, field: Field): [string, Field][] {
  const isNullable = field.anyOf?.some(({ type }) => type === "null") === true;
  const inner = field.properties ?? (isNullable ? field.anyOf?.find(({ properties }) => properties !== undefined)?.properties : undefined);
  const below = Object.entries(inner ?? {}).flatMap(([name, each]) => fieldsBelow(`${path}.${name}`, each));
  return field.properties === undefined ? [[path, field], ...below] : below;
}

function typeOf(field: Field): string {
  if (field.anyOf !== undefined) return field.anyOf.map(typeOf).join(" or ");
  if (field.enum !== undefined) return field.enum.map((value) => `\`"${value}"\``).join(", ");
  if (field.prefixItems !== undefined) return `[${field.prefixItems.map(typeOf).join(", ")}]`;
  if (field.type === "array") return `a list of ${field.items === undefined ? "values" : `${typeOf(field.items)}s`}`;
  if (field.properties !== undefined && Object.values(field.properties).every((each) => each.description !== undefined)) return "a section";
  if (field.type === "object") return `an object of ${field.additionalProperties?.type ?? "string"}s`;
  return [field.type ?? "any", ...boundsOf(field)].join(" ");
}

function boundsOf({ minimum, exclusiveMinimum, maximum, exclusiveMaximum }: Field): string[] {
  const bounds = [
    minimum === undefined || minimum === Number.MIN_SAFE_INTEGER ? null : `≥ ${minimum}`,
    exclusiveMinimum === undefined ? null : `> ${exclusiveMinimum}`,
    maximum === undefined || maximum === Number.MAX_SAFE_INTEGER ? null : `≤ ${maximum}`,
    exclusiveMaximum === undefined ? null : `< ${exclusiveMaximum}`,
  ].filter((bound) => bound !== null);
  return bounds.length === 0 ? [] : [bounds.join(" and ")];
}

function described(path: string, { description }: Field): string {
  if (description === undefined) throw new Error(`${path} has no description; add one beside the field in core/config/schema.ts`);
  return description.replaceAll("|", "\\|");
}
