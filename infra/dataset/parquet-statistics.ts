import type { ColumnMetaData, RowGroup } from "hyparquet";
import { hasContent } from "./row.js";

/** A bound of fewer characters is a value itself: writers shorten longer ones. */
const WHOLE_BOUND = 16;

/** Whether a column has content in a row group, by the statistics of its parts; null: they don't say. */
export function contentByStatistics(group: RowGroup, column: string): boolean | null {
  const parts = group.columns.flatMap(({ meta_data }) => (meta_data?.path_in_schema[0] === column ? [partHasContent(meta_data)] : []));
  if (parts.includes(true)) return true;
  return parts.length > 0 && parts.every((has) => has === false) ? false : null;
}

function partHasContent({ num_values: values, statistics, type }: ColumnMetaData): boolean | null {
  if (values === 0n) return false;
  if (statistics === undefined) return null;
  const { null_count: nulls } = statistics;
  if (nulls === values) return false;
  if (type !== "BYTE_ARRAY" && type !== "FIXED_LEN_BYTE_ARRAY") return nulls === undefined ? null : true;
  const low = statistics.min_value ?? statistics.min;
  const high = statistics.max_value ?? statistics.max;
  // the lower bound is a value or its beginning; the upper one may be made up, unless it is short
  if (hasContent(low)) return true;
  if (typeof low !== "string" || typeof high !== "string" || low.length >= WHOLE_BOUND || high.length >= WHOLE_BOUND) return null;
  if (hasContent(high)) return true;
  return low === high ? false : null;
}
