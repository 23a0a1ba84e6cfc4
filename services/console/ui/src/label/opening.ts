// What is asked of annotate for a new labeling job, made of what a person chose.

import { get, type Schemas } from "../api/client";

/** The filters of a dataset's page, as its address has them. */
export type Filter = Partial<
  Record<
    | "class_name"
    | "split"
    | "tag"
    | "source"
    | "labeled"
    | "predictions"
    | "score_max"
    | "disagreement_min",
    string
  >
>;

export const SHAPES = [
  { value: "whole_image", label: "Whole image" },
  { value: "box", label: "Box" },
  { value: "polygon", label: "Polygon" },
  { value: "mask", label: "Mask" },
];
/** A deployed model is asked after the job was opened; committed predictions are part of it. */
export const MODEL = "model:";
export const PREDICTIONS = "predictions:";
export const SPLIT = "split:";
export const FILTER = "filter";
const NO_SPLIT = "none";
const ITEMS_MAX = 200_000; // of one job, by the server
const PAGE = 1_000;
const NAME = /^[a-z0-9][a-z0-9_-]{0,62}$/;

export type Form = {
  job: string;
  dataset: string;
  version: number;
  /** "unlabeled", "all", "filter" or "split:<name>". */
  which: string;
  /** One a line. */
  classes: string;
  shapes: string[];
  instructions: string;
  labelers: string[];
  reviewers: string[];
  review: boolean;
  labelersPerItem: number;
  /** As the browser's field has it: local, to the minute; "" for none. */
  deadline: string;
  priority: number;
  /** "", "predictions:<name>@<version>" or "model:<name>@<alias>". */
  help: string;
  confidence: number;
  /** How many labeled images are hidden among the others. */
  hidden: number;
};

/** What is wrong with a job's name; "" if nothing is. */
export function faultOfName(name: string, taken: readonly string[]): string {
  if (taken.includes(name)) return "There is a job of this name";
  if (name && !NAME.test(name)) {
    return "Use 1 to 63 of a-z, 0-9, - and _, beginning with a letter or a digit";
  }
  return "";
}

export const linesOf = (text: string): string[] =>
  text
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);

export const twiceIn = (names: readonly string[]): string =>
  names.find((name, at) => names.indexOf(name) !== at) ?? "";

/**
 * Whether a filter asks what no rule over items can, so that its images are listed one by one: what a
 * model said is not the item's, and a class does not count where its shape was rejected.
 */
export const needsList = (filter: Filter): boolean =>
  Boolean(filter.class_name || filter.score_max || filter.disagreement_min);

/** The rule (CEL over `item`) that chooses; "" for every image. */
export function ruleOf(which: string, filter: Filter): string {
  if (which === "unlabeled") return "!item.labeled";
  if (which.startsWith(SPLIT)) return splitRule(which.slice(SPLIT.length));
  if (which !== FILTER) return "";
  return [
    filter.labeled && (filter.labeled === "true" ? "item.labeled" : "!item.labeled"),
    filter.split && splitRule(filter.split),
    filter.tag && `${JSON.stringify(filter.tag)} in item.tags`,
    filter.source && `item.source.contains(${JSON.stringify(filter.source)})`,
  ]
    .filter(Boolean)
    .join(" && ");
}

const splitRule = (split: string): string =>
  `item.split == ${JSON.stringify(split === NO_SPLIT ? "" : split)}`;

/** A filter for people: "class coat, disagreement from 20%". */
export function saidOf(filter: Filter): string {
  return [
    filter.class_name && `class ${filter.class_name}`,
    filter.split && `split ${filter.split}`,
    filter.labeled && (filter.labeled === "true" ? "labeled" : "unlabeled"),
    filter.tag && `tag ${filter.tag}`,
    filter.source && `from ${filter.source}`,
    filter.score_max && `score up to ${Math.round(100 * Number(filter.score_max))}%`,
    filter.disagreement_min &&
      `disagreement from ${Math.round(100 * Number(filter.disagreement_min))}%`,
  ]
    .filter(Boolean)
    .join(", ");
}

/** The body of `POST /api/jobs`; what was left as it was is left to the server. */
export function requestOf(
  form: Form,
  filter: Filter,
  classesBefore: readonly string[],
  listed: readonly string[],
  truth: readonly string[],
) {
  const classes = linesOf(form.classes);
  const isAsBefore = classes.join("\n") === classesBefore.join("\n");
  const known = new Set(truth);
  return {
    job: form.job,
    dataset: `${form.dataset}@v${form.version}`,
    items: listed.filter((asset) => !known.has(asset)),
    where: listed.length ? "" : ruleOf(form.which, filter),
    classes: isAsBefore ? [] : classes,
    shapes: form.shapes,
    instructions: form.instructions.trim(),
    labelers: form.labelers,
    reviewers: form.reviewers,
    review: form.review,
    labelers_per_item: form.labelersPerItem,
    deadline: momentOf(form.deadline),
    priority: form.priority,
    predictions: form.help.startsWith(PREDICTIONS) ? form.help.slice(PREDICTIONS.length) : "",
    confidence_min: form.help ? form.confidence : 0,
    ground_truth: truth,
  };
}

/** What the browser's field for moments says, as a moment; null for none. */
export const momentOf = (local: string): string | null =>
  local ? new Date(local).toISOString() : null;

/** A moment as the browser's field for moments wants it. */
export function localOf(moment: string | null): string {
  if (!moment) return "";
  const at = new Date(moment);
  const local = new Date(at.getTime() - at.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, "2026-01-02T03:04".length);
}

/** The images of a dataset version that a filter shows, by their digests. */
export async function assetsOf(
  dataset: string,
  version: number,
  filter: Filter,
  most = ITEMS_MAX,
): Promise<string[]> {
  const found: string[] = [];
  let cursor: string | null = "";
  while (cursor !== null && found.length < most) {
    const page: Schemas["ItemsOut"] = await get<Schemas["ItemsOut"]>(
      `/api/datasets/${dataset}/versions/${version}/items`,
      { ...filter, cursor, limit: Math.min(PAGE, most - found.length) },
    );
    found.push(...page.items.map(({ asset }) => asset));
    cursor = page.next_cursor;
  }
  return found;
}
