// The kinds of nodes: their word, their colour (a class in console.css) and their sign.

const SIGNS = {
  source: "M4 7c0-1.7 3.6-3 8-3s8 1.3 8 3-3.6 3-8 3-8-1.3-8-3zm0 0l2 11c.3 1.2 2.9 2 6 2s5.7-.8 6-2l2-11",
  dataset: "M4 6h16v4H4zM4 10h16v4H4zM4 14h16v4H4z",
  model: "M12 3l8 4.5v9L12 21l-8-4.5v-9zM12 12l8-4.5M12 12v9M12 12L4 7.5",
  alias: "M6 21V4M6 4h12l-3 4 3 4H6",
  predictions: "M4 18l5-6 4 3 7-9M20 6h-5M20 6v5",
  labeling_job: "M4 20l1-4L16 5l3 3L8 19zM14 7l3 3",
  labels: "M4 12V5h7l9 9-7 7zM8 8.5v.1",
  delivery: "M3 8l9-4 9 4v8l-9 4-9-4zM3 8l9 4 9-4M12 12v8",
  flow: "M5 4h5v5H5zM14 15h5v5h-5zM7.5 9v8.5H14",
  report: "M6 3h9l4 4v14H6zM9 12h7M9 16h7M14 3v5h5",
  bucket: "M4 7c0-1.7 3.6-3 8-3s8 1.3 8 3-3.6 3-8 3-8-1.3-8-3zm0 0l2 11c.3 1.2 2.9 2 6 2s5.7-.8 6-2l2-11M9 14l2.5 2.5L15 13",
  labeler: "M12 4a4 4 0 1 1 0 8 4 4 0 0 1 0-8zM4 21c0-4 3.6-6 8-6s8 2 8 6",
  run: "M7 5l11 7-11 7z",
};

const WORDS = {
  source: "Source", dataset: "Dataset", model: "Model", alias: "Alias", predictions: "Predictions",
  labeling_job: "Labeling job", labels: "Labels", delivery: "Delivery", flow: "Flow",
  bucket: "Results bucket", report: "Report", labeler: "Labeler", run: "Run",
};

export const KINDS = Object.keys(WORDS);

/** "ARTEFACT_KIND_LABELING_JOB", "labeling job" or "job" is "labeling_job". */
export function kindOf(text) {
  const kind = String(text || "").toLowerCase().replace(/^(artefact|run)_kind_/, "").replace(/[ -]/g, "_");
  if (kind === "job") return "labeling_job";
  return kind in WORDS ? kind : "run";
}

export const wordOf = (kind) => WORDS[kind] || kind;
export const signOf = (kind) => SIGNS[kind] || SIGNS.run;
