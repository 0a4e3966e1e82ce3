import { setCurrentDetails, workflowInfo } from "@temporalio/workflow";
import { STAGES, type StageName } from "../core/stages/results.js";
import { duration } from "../core/units.js";
import { SIGNALS, type RunProgress, type StageRow, type StageState } from "./contract.js";

interface Row {
  state: StageState;
  startedAt: number | null;
  endedAt: number | null;
  note: string;
  warnings: readonly string[];
  /** those of them that were said while the stage ran: it may begin more than once */
  lasting: readonly string[];
}

/** More of a stage are not kept. */
const MOST_LASTING = 20;

/** How far a run is, stage by stage; every change shows in the UI as a table. */
export class ProgressTable {
  private readonly rows = new Map<StageName, Row>();
  private notes: readonly string[] = [];
  private reports: string | undefined;
  private pause: "" | "saving" | "paused" = "";
  private asked = "";

  /** `rows`: of the run that this one continues. */
  constructor(rows: readonly StageRow[] = []) {
    for (const stage of STAGES)
      this.rows.set(stage, { state: "to do", startedAt: null, endedAt: null, note: "", warnings: [], lasting: [] });
    for (const { stage, state, seconds, note, warnings = [] } of rows) {
      const startedAt = seconds === null ? null : Date.now() - seconds * 1000;
      this.rows.set(stage, {
        state,
        startedAt,
        endedAt: state === "running" || state === "paused" || seconds === null ? null : Date.now(),
        note,
        warnings,
        lasting: state === "running" || state === "paused" ? warnings : [],
      });
    }
    this.show();
  }

  /** What the plan found worth knowing, and where pages about runs are served, if they are. */
  note(notes: readonly string[], reports?: string): void {
    this.notes = notes;
    this.reports = reports;
    this.show();
  }

  /** What has become of a pause of the whole run. */
  hold(state: "running" | "saving" | "paused"): void {
    this.pause = state === "running" ? "" : state;
    this.show();
  }

  /** What the run waits for a person to do; "": nothing. */
  ask(words: string): void {
    this.asked = words;
    this.show();
  }

  start(stage: StageName, note = ""): void {
    const row = this.rows.get(stage)!;
    row.startedAt ??= Date.now();
    Object.assign(row, { state: "running", note, warnings: row.lasting });
    this.show();
  }

  /** Adds a warning to a stage that runs. */
  warn(stage: StageName, warning: string): void {
    const row = this.rows.get(stage)!;
    if (row.lasting.length < MOST_LASTING && !row.lasting.includes(warning)) row.lasting = [...row.lasting, warning];
    row.warnings = row.lasting;
  }

  end(stage: StageName, state: StageState, note: string, warnings: readonly string[] = []): void {
    const row = this.rows.get(stage)!;
    Object.assign(row, { state, note, warnings: [...warnings, ...row.lasting], endedAt: Date.now() });
    this.show();
  }

  progress(): RunProgress {
    const rows = [...this.rows].map(([stage, row]): StageRow => {
      const seconds = row.startedAt === null ? null : ((row.endedAt ?? Date.now()) - row.startedAt) / 1000;
      const state = row.state === "running" && this.pause === "paused" ? "paused" : row.state;
      return { stage, state, seconds, note: row.note, ...(row.warnings.length === 0 ? {} : { warnings: row.warnings }) };
    });
    return { rows, pause: pauseText(this.pause) || this.asked };
  }

  private show(): void {
    const report = this.reports === undefined ? null : `${this.reports}/runs/${encodeURIComponent(workflowInfo().workflowId)}`;
    setCurrentDetails(progressMarkdown(this.progress(), this.notes, report));
  }
}

/** How far a pause is, and what ends it. */
function pauseText(pause: "" | "saving" | "paused"): string {
  if (pause === "") return "";
  if (pause === "saving") return "pausing: what is under way is saved";
  return `paused; what is done is saved. Go on with: temporal workflow signal --workflow-id ${workflowInfo().workflowId} --name ${SIGNALS.resume}`;
}

/** The table as Markdown, with the address of the run's report, if there is one. Running stages have no time yet: the text is only made anew when something changes. */
export function progressMarkdown({ rows, pause }: RunProgress, notes: readonly string[], report: string | null = null): string {
  const lines = rows.map((row) => {
    const time = row.seconds === null || row.state === "running" || row.state === "paused" ? "" : duration(row.seconds);
    // the UI leaves no room between columns, and breaks a time into lines
    const [stage, state, seconds] = [row.stage, row.state, time].map((text) => `${text.replaceAll(" ", "\u00a0")}\u00a0\u00a0`);
    return `| ${stage} | ${state} | ${seconds} | ${row.note.replaceAll("|", "\\|").replaceAll("\n", " ")} |`;
  });
  // a parenthesis in a run's id would end the link
  const link = report?.replaceAll("(", "%28").replaceAll(")", "%29");
  const table = ["| stage | state | time | |", "| --- | --- | --- | --- |", ...lines].join("\n");
  return [
    ...(pause === "" ? [] : [`**${pause}**`]),
    table,
    ...(link === undefined ? [] : [`[Report](${link}), served by the machine that planned`]),
    ...(notes.length === 0 ? [] : [notes.map((note) => `- ${note}`).join("\n")]),
  ].join("\n\n");
}
