// Numbers, moments and names as people read them.

const WHOLE = new Intl.NumberFormat("en");
const TINY = 1e-4; // below it, zeros hide the figure
const FEW = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });

export function number(value: number): string {
  if (value !== 0 && Math.abs(value) < TINY) return value.toExponential(1).replace("e-", "e−");
  return Number.isInteger(value) ? WHOLE.format(value) : FEW.format(value);
}

/** 0.8123 reads "81.2%". */
export function percent(share: number, digits = 1): string {
  return `${(100 * share).toFixed(digits)}%`;
}

const SHARES =
  /(^|[:_.])(accuracy|precision|recall|f1|agreement|calibration_error|map50|map|iou|dice|auc|ece|ap|ap50)(_\d+)?([:.]|$)/i;

/** Whether a figure lies between 0 and 1, by its name. */
export const isShare = (name: string): boolean => SHARES.test(name);

/** A metric by its name: shares as percents, durations with their unit. */
export function metric(name: string, value: number): string {
  if (name.endsWith("_per_s")) return `${number(value)}/s`;
  if (name.endsWith("_s")) return duration(value);
  if (SHARES.test(name) && Math.abs(value) <= 1) return percent(value);
  return number(value);
}

export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
}

export function bytes(count: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = count;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value < 10 && unit > 0 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** "just now", "4 min ago", "3 h ago", then the date. */
export function ago(moment: string | null | undefined, now = Date.now()): string {
  if (!moment) return "";
  const at = new Date(moment).getTime();
  if (Number.isNaN(at)) return "";
  const seconds = (now - at) / 1000;
  if (seconds < 45) return "just now";
  if (seconds < 3600) return `${Math.max(1, Math.round(seconds / 60))} min ago`;
  if (seconds < 86_400) return `${Math.round(seconds / 3600)} h ago`;
  return new Date(at).toLocaleDateString("en", { day: "numeric", month: "short", year: "numeric" });
}

export function moment(text: string | null | undefined): string {
  if (!text) return "";
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) return "";
  return at.toLocaleString("en", {
    day: "numeric",
    month: "short",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    hour12: false,
  });
}

/** "macro_f1" reads "macro F1", "labeling_job" reads "labeling job". */
export function words(text: string): string {
  return text
    .replace(/^(ARTEFACT|RUN)_(KIND|STATE)_/, "")
    .replace(/[_-]+/g, " ")
    .toLowerCase()
    .replace(/\bf1\b/g, "F1")
    .replace(/\bmap(50)?\b/g, "mAP$1")
    .replace(/\biou\b/g, "IoU")
    .replace(/\b(onnx|auc|roc|cpu|gpu)\b/g, (name) => name.toUpperCase());
}

/** A figure by its name: "auc:t-shirt" reads "AUC of t-shirt"; a class keeps its name as it is. */
export function figure(name: string): string {
  const [what, ...of] = name.split(":");
  const said = words(what!.replace(/(_per)?_s$/, "")); // the value has the unit
  return of.length ? `${said} of ${of.join(":")}` : said;
}

export function title(text: string): string {
  const said = words(text);
  return said.charAt(0).toUpperCase() + said.slice(1);
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${number(count)} ${count === 1 ? one : many}`;
}

export const short = (digest: string): string => digest.replace(/^.*:/, "").slice(0, 12);

/** Who asked: "flow catalogue"; a person by the name alone. */
export const asker = ({ kind, name }: { kind: string; name: string }): string =>
  kind === "user" ? name : `${kind} ${name}`;
