// What becomes of a run that is asked for again: it begins, or it is recognised as done already.

import { get, type Schemas } from "../api/client";
import { tell } from "../app/toasts";
import { title } from "../ui/format";

type Run = Schemas["RunOut"];
const ASK_MS = 1_000;
const ASKED_MAX = 60; // after that it waits in the queue, and Live shows it

/** Says so once somebody has taken the command up. */
export async function followAgain(command: string | undefined, before: Run): Promise<void> {
  if (!command) return;
  for (let asked = 0; asked < ASKED_MAX; asked += 1) {
    await new Promise((then) => setTimeout(then, ASK_MS));
    const { runs } = await get<Schemas["RunsOut"]>("/api/runs", { command_id: command });
    if (runs[0]) {
      tell(becameOf(runs[0], before), runs[0].state === "failed" ? "bad" : undefined);
      return;
    }
  }
}

/** The key of a run is its inputs, parameters and code: the same key is the same work. */
export function becameOf(now: Run, before: Run): string {
  if (now.state === "failed") return now.message || `${title(now.kind)} failed again`;
  if (now.state === "completed" && now.id === before.id && before.state === "completed") {
    const made = now.artefact?.label ?? before.artefact?.label;
    return made
      ? `Nothing is different since: ${made} is what it makes`
      : "Nothing is different since: it is done already";
  }
  return now.state === "completed"
    ? `${title(now.kind)} is done${now.artefact ? `: ${now.artefact.label}` : ""}`
    : `${title(now.kind)} has begun`;
}
