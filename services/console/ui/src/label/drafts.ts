// What was drawn and not submitted, kept in the browser: it survives a closed tab and a server that is
// restarting. The server keeps it too, for another browser.

import type { WireShape } from "./model";

export type Draft = { shapes: WireShape[]; tags: string[]; decided: string[]; spent_s: number };

const PREFIX = "loopline.draft.";
const DRAFTS_MAX = 200;

export const draftKey = (job: string, asset: string): string => `${PREFIX}${job}.${asset}`;

export function readDraft(key: string): Draft | null {
  try {
    const kept = JSON.parse(localStorage.getItem(key) ?? "null") as Draft | null;
    return kept && Array.isArray(kept.shapes) ? kept : null;
  } catch {
    return null;
  }
}

export function writeDraft(key: string, draft: Draft): void {
  try {
    localStorage.setItem(key, JSON.stringify(draft));
  } catch {
    // The browser's room is full: make some, or rely on the server's copy.
    for (const old of draftKeys().slice(0, -DRAFTS_MAX / 2)) localStorage.removeItem(old);
  }
}

export const deleteDraft = (key: string): void => localStorage.removeItem(key);

const draftKeys = (): string[] => Object.keys(localStorage).filter((key) => key.startsWith(PREFIX));
