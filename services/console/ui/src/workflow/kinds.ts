// The kinds of nodes: their word, their sign and how large their cards are. Colours are in tokens.css.

import {
  Bookmark,
  Boxes,
  ChartColumn,
  Database,
  FolderInput,
  FolderOutput,
  type LucideIcon,
  Play,
  ScanEye,
  SquarePen,
  Workflow,
} from "lucide-react";

export const KINDS = [
  "source",
  "dataset",
  "model",
  "evaluation",
  "deployment",
  "predictions",
  "delivery",
  "bucket",
  "labeling_job",
  "flow",
  "run",
] as const;
export type Kind = (typeof KINDS)[number];

type Look = { word: string; many: string; icon: LucideIcon; colour: string };

const LOOKS: Record<Kind, Look> = {
  source: { word: "Source", many: "Sources", icon: FolderInput, colour: "source" },
  dataset: { word: "Dataset", many: "Datasets", icon: Database, colour: "dataset" },
  model: { word: "Model", many: "Models", icon: Boxes, colour: "model" },
  evaluation: { word: "Evaluation", many: "Evaluations", icon: ChartColumn, colour: "evaluation" },
  deployment: { word: "Deployment", many: "Deployments", icon: Bookmark, colour: "alias" },
  predictions: { word: "Predictions", many: "Predictions", icon: ScanEye, colour: "predictions" },
  delivery: { word: "Delivery", many: "Deliveries", icon: FolderOutput, colour: "delivery" },
  bucket: { word: "Customer bucket", many: "Buckets", icon: FolderOutput, colour: "delivery" },
  labeling_job: { word: "Labeling job", many: "Labeling jobs", icon: SquarePen, colour: "job" },
  flow: { word: "Flow", many: "Flows", icon: Workflow, colour: "flow" },
  run: { word: "Run", many: "Runs", icon: Play, colour: "run" },
};

export const lookOf = (kind: Kind): Look => LOOKS[kind];

/** Of a kind that this page does not know yet: a run is the plainest. */
export function kindOf(text: string): Kind {
  return (KINDS as readonly string[]).includes(text) ? (text as Kind) : "run";
}

export const CARD_WIDTH = 228;
const HEIGHTS: Partial<Record<Kind, number>> = {
  run: 40,
  dataset: 76,
  model: 76,
  labeling_job: 84,
};
const CARD_HEIGHT = 64;
const STRIP_HEIGHT = 46;
const RUN_WIDTH = 156;

export function sizeOf(kind: Kind, withStrip: boolean): { width: number; height: number } {
  const height = (HEIGHTS[kind] ?? CARD_HEIGHT) + (withStrip ? STRIP_HEIGHT : 0);
  return { width: kind === "run" ? RUN_WIDTH : CARD_WIDTH, height };
}
