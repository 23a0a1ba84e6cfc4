// The labeling API as this page uses it.

import { get, imageUrl, send } from "../api/client";
import { loadBitmap } from "./feed";
import type { WireShape } from "./model";

export type Purpose = "label" | "review";

export type Job = {
  job: string;
  state: string;
  dataset: { name: string; version: number };
  items: number;
  submitted: number;
  counts: Record<"queued" | "submitted" | "disputed" | "accepted" | "rejected" | "done", number>;
  classes: string[];
  /** What may be drawn; anything if empty. */
  shapes: string[];
  instructions: string;
  labelers: string[];
  reviewers: string[];
  labelers_per_item: number;
  review: boolean;
  priority: number;
  deadline: string | null;
  changed_at: string;
  confidence_min: number;
};

export type Labels = {
  labeler: string;
  version: number;
  shapes: WireShape[];
  tags: string[];
};

export type Item = {
  asset: string;
  width_px: number;
  height_px: number;
  state: string;
  predicted: WireShape[] | null;
  /** What the dataset version says already: where one starts from. */
  existing: WireShape[];
  labels: Labels | null;
  comment: string;
  reviewer: string | null;
  draft: { shapes: WireShape[]; tags: string[]; spent_s: number } | null;
};

type Leased = { item: Omit<Item, "draft">; draft: Item["draft"] };
export type Next = { items: Leased[]; held: string[]; remaining: number };
export type Cutter = { name: string; kind: string; prompts: string[]; about: string };

const TAKEN_MAX = 10; // at once, by the server

export const jobPath = (job: string, rest = ""): string =>
  `/api/jobs/${encodeURIComponent(job)}${rest}`;
export const itemPath = (job: string, asset: string, rest: string): string =>
  jobPath(job, `/items/${asset}${rest}`);

/** One thing that became of a job. */
export type JobEvent = {
  version: number;
  at: string;
  by: string;
  state: string;
  summary: string;
  reopened: boolean;
};

export const readHistory = async (job: string): Promise<JobEvent[]> =>
  (await get<{ history: JobEvent[] }>(jobPath(job, "/history"))).history;
export const readJobs = async (): Promise<Job[]> => (await get<{ jobs: Job[] }>("/api/jobs")).jobs;
/** A deployed model being asked about the images of a job. */
export type Asking = {
  model: string;
  state: "running" | "completed" | "failed";
  total: number;
  done: number;
  failed: number;
  error: string;
};

export const openJob = (asked: object): Promise<Job> => send("POST", "/api/jobs", asked);
export const changeJob = (job: string, changes: object): Promise<Job> =>
  send("PATCH", jobPath(job), changes);
export const askModel = (job: string, model: string, confidence_min: number): Promise<Asking> =>
  send("POST", jobPath(job, "/predict"), { model, confidence_min });
export const readAsking = (job: string): Promise<Asking> => get(jobPath(job, "/predict"));
export const readJob = (name: string): Promise<Job> => get<Job>(jobPath(name));
export const readImage = (asset: string): Promise<ImageBitmap> => loadBitmap(imageUrl(asset));

/** Takes items until one holds `count`; those one has already are renewed and not sent again. */
export async function takeItems(
  job: string,
  purpose: Purpose,
  count: number,
  holding: readonly string[],
): Promise<Item[]> {
  const rest = purpose === "review" ? "/review/next" : "/next";
  const { items } = await send<Next>("POST", jobPath(job, rest), {
    count: Math.min(TAKEN_MAX, Math.max(1, count)),
    holding: holding.slice(0, TAKEN_MAX),
  });
  return items.map(({ item, draft }) => ({ ...item, draft }));
}

/** Lets go of an item; skipped, it comes again once nothing else is left. */
export const release = (job: string, asset: string, skip: boolean): Promise<unknown> =>
  send("DELETE", itemPath(job, asset, `/lease?skip=${skip}`));

export const readCutters = async (): Promise<Cutter[]> =>
  (await get<{ tools: Cutter[] }>("/api/assist/tools")).tools;

export const cutOut = (asked: {
  asset: string;
  tool: string;
  bbox_xyxy?: readonly number[];
  points?: { x: number; y: number; positive: boolean }[];
}): Promise<{ mask_rle: string | null }> => send("POST", "/api/assist/mask", asked);

export { send };
