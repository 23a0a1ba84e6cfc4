// A refusal of the server, in its own words.

export class Refused extends Error {
  readonly status: number;

  constructor(status: number, reason: string) {
    super(reason);
    this.name = "Refused";
    this.status = status;
  }
}

/** What a person is told of a failure. */
export function reasonOf(error: unknown): string {
  if (error instanceof TypeError && /fetch|network/i.test(error.message)) {
    return "The console does not answer. It may be restarting; nothing you did is lost.";
  }
  if (error instanceof Error) return error.message;
  return String(error);
}

/** The reason in an answer's body: ours is {"error"}, a validation's is {"detail"}. */
export function reasonIn(body: unknown, status: number): string {
  if (typeof body === "object" && body !== null) {
    const { error, detail } = body as { error?: unknown; detail?: unknown };
    if (typeof error === "string") return error;
    if (typeof detail === "string") return detail;
    if (Array.isArray(detail)) return detail.map(faultOf).join("; ");
  }
  return `The server answered ${status} without saying why.`;
}

function faultOf(fault: { loc?: unknown[]; msg?: string }): string {
  const where = (fault.loc ?? []).slice(1).join(".");
  return where ? `${where}: ${fault.msg ?? "refused"}` : (fault.msg ?? "refused");
}
