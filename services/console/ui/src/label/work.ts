// One person's work on one job: which item is open, what becomes of it, drafts, and what was sent.
// React only looks at this; so a key pressed twice quickly meets a state that is already the next.

import { reasonOf } from "../api/errors";
import {
  cutOut,
  type Item,
  itemPath,
  type Job,
  type Labels,
  type Purpose,
  readImage,
  release,
  send,
  takeItems,
} from "./api";
import { type Draft, deleteDraft, draftKey, readDraft, writeDraft } from "./drafts";
import { type Editor, USUAL_LIGHT } from "./editor";
import { Feed } from "./feed";
import { type Box, iou } from "./geometry";
import {
  type Doc,
  type LabelShape,
  news,
  readExisting,
  readShape,
  readShapes,
  recognised,
  submitted,
  writeShape,
} from "./model";
import { Outbox } from "./outbox";

const DRAFT_MS = 600; // after the last step
const HEARTBEAT_MS = 30_000;
const SPENT_MAX_S = 600; // a longer pause is a pause
const SAME_IOU = 0.999;

export type WorkState = {
  readonly openAsset: string;
  readonly imageError: string;
  readonly isThinking: boolean;
  readonly doneHere: number;
};

export class Work {
  readonly feed: Feed<Item>;
  readonly outbox: Outbox;
  readonly editor: Editor;
  readonly job: Job;
  readonly purpose: Purpose;
  #state: WorkState = { openAsset: "", imageError: "", isThinking: false, doneHere: 0 };
  readonly #listeners = new Set<() => void>();
  readonly #timers: ReturnType<typeof setInterval>[] = [];
  readonly #unsubscribe: (() => void)[] = [];
  #draftTimer: ReturnType<typeof setTimeout> | undefined;
  #openedAt = 0;
  #spentBefore = 0;
  #lastDoc: Doc | null = null;
  #previousShapes: readonly LabelShape[] = [];
  /** What cuts out what one points at. */
  cutter = "grabcut";
  onTrouble: (text: string) => void = () => {};

  constructor(job: Job, purpose: Purpose, editor: Editor) {
    this.job = job;
    this.purpose = purpose;
    this.editor = editor;
    this.feed = new Feed<Item>(this.#take, readImage);
    this.outbox = new Outbox((method, path, body) => send(method, path, body), localStorage);
    this.outbox.onRefused = ({ reason }) => this.onTrouble(`Not accepted: ${reason}`);
    editor.set({
      tool: "select",
      className: job.classes[0] ?? "",
      threshold: job.confidence_min,
      light: USUAL_LIGHT,
    });
    this.#unsubscribe.push(this.feed.subscribe(this.#follow), editor.subscribe(this.#onStep));
    this.#timers.push(setInterval(() => void this.#keep(), HEARTBEAT_MS));
    window.addEventListener("pagehide", this.#onLeave);
    this.feed.fill();
  }

  stop(): void {
    this.#onLeave();
    window.removeEventListener("pagehide", this.#onLeave);
    for (const end of this.#unsubscribe) end();
    for (const timer of this.#timers) clearInterval(timer);
    clearTimeout(this.#draftTimer);
    const { items, at } = this.feed.getState();
    for (const { asset } of items.slice(at)) {
      release(this.job.job, asset, false).catch(() => {}); // its lease ends by itself
    }
    this.editor.close();
  }

  getState = (): WorkState => this.#state;

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  #set(changes: Partial<WorkState>): void {
    this.#state = { ...this.#state, ...changes };
    for (const listener of this.#listeners) listener();
  }

  // What a person does -----------------------------------------------------------------------------

  /** What would be submitted now: what is seen. */
  get answer(): readonly LabelShape[] {
    return submitted(this.editor.doc, this.editor.isShown);
  }

  submit(): void {
    const item = this.feed.current;
    if (!item || this.#state.openAsset !== item.asset) return;
    performance.mark("loopline:submit");
    const { doc } = this.editor;
    const shapes = this.answer;
    const body = {
      shapes: shapes.map(writeShape),
      tags: doc.tags,
      spent_s: this.#spent(),
    };
    this.#previousShapes = shapes;
    if (this.purpose === "review") this.#review(item, body, shapes);
    else this.#post(item, "/labels", body);
    this.#done(item, shapes, doc.tags);
  }

  /** Sends it back to the labelers, saying why. */
  reject(comment: string): void {
    const item = this.feed.current;
    if (!item) return;
    this.#post(item, "/review", {
      verdict: "rejected",
      comment,
      labels_version: item.labels?.version ?? 0,
      spent_s: this.#spent(),
    });
    this.#done(item, this.answer, this.editor.doc.tags);
  }

  skip(): void {
    const item = this.feed.current;
    if (!item) return;
    release(this.job.job, item.asset, true).catch((error: unknown) => this.#tell(error));
    deleteDraft(draftKey(this.job.job, item.asset));
    this.feed.next();
  }

  next(): void {
    this.#saveDraft();
    this.feed.next();
  }

  back(): void {
    this.#saveDraft();
    this.feed.back();
  }

  copyPrevious(): void {
    this.editor.paste(this.#previousShapes);
  }

  get canCopyPrevious(): boolean {
    return this.#previousShapes.length > 0;
  }

  /** A box, or a click, becomes a mask: by what the server has for it. */
  async smart(box: Box): Promise<void> {
    const item = this.feed.current;
    if (!item) return;
    this.#set({ isThinking: true });
    try {
      const [x, y] = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
      const isClick = box[2] - box[0] < 2 && box[3] - box[1] < 2;
      const said = await cutOut({
        asset: item.asset,
        tool: this.cutter,
        ...(isClick ? { points: [{ x, y, positive: true }] } : { bbox_xyxy: box }),
      });
      if (this.#state.openAsset !== item.asset) return;
      const size = { width: item.width_px, height: item.height_px };
      const className = this.editor.state.className;
      const shape =
        said.mask_rle && readShape({ class_name: className, mask_rle: said.mask_rle }, size);
      if (shape) this.editor.add(shape);
      else this.onTrouble("Nothing stands out there. Try a box around it.");
    } catch (error) {
      this.#tell(error);
    } finally {
      this.#set({ isThinking: false });
    }
  }

  #tell(error: unknown): void {
    this.onTrouble(reasonOf(error));
  }

  // Sending ----------------------------------------------------------------------------------------

  #post(item: Item, rest: string, body: unknown): void {
    this.outbox.post({
      id: crypto.randomUUID(),
      job: this.job.job,
      asset: item.asset,
      method: "POST",
      path: itemPath(this.job.job, item.asset, rest),
      body,
    });
  }

  /** A reviewer who mended something says what is right; else that what is there is. */
  #review(item: Item, body: object, shapes: readonly LabelShape[]): void {
    const size = { width: item.width_px, height: item.height_px };
    const before = readShapes(item.labels?.shapes ?? [], size);
    const tagged = [...(item.labels?.tags ?? [])].sort().join();
    const isSame = sameShapes(before, shapes) && tagged === [...this.editor.doc.tags].sort().join();
    this.#post(item, "/review", {
      verdict: "accepted",
      comment: "",
      labels_version: item.labels?.version ?? 0,
      spent_s: this.#spent(),
      ...(!isSame && body),
    });
  }

  #done(item: Item, shapes: readonly LabelShape[], tags: readonly string[]): void {
    clearTimeout(this.#draftTimer);
    deleteDraft(draftKey(this.job.job, item.asset));
    const labels: Labels = {
      labeler: "",
      version: item.labels?.version ?? 0,
      shapes: shapes.map(writeShape),
      tags: [...tags],
    };
    this.feed.update(item.asset, (one) => ({
      ...one,
      labels,
      draft: null,
      state: "submitted",
      comment: "",
    }));
    this.#set({ doneHere: this.#state.doneHere + 1 });
    this.feed.next();
  }

  #take = async (count: number, have: readonly string[]): Promise<readonly Item[]> => {
    // What is on its way is held until it arrives, and must not come again.
    const sent = this.outbox.getState().waiting.map(({ asset }) => asset);
    const holding = [...have, ...sent];
    const taken = await takeItems(this.job.job, this.purpose, count + sent.length, holding);
    const { items, at } = this.feed.getState();
    const known = new Map(
      items.slice(0, at).map(({ asset, labels }) => [asset, labels?.version ?? 0]),
    );
    // Done items come again only where they say something new: sent back, or labeled anew.
    return taken.filter(({ asset, labels }) => (labels?.version ?? 0) > (known.get(asset) ?? -1));
  };

  /** Tells the server that one is still here, so that what is held stays so. */
  async #keep(): Promise<void> {
    const { items, at } = this.feed.getState();
    const held = items.slice(at).map(({ asset }) => asset);
    if (document.visibilityState !== "visible" || !held.length) return;
    await takeItems(this.job.job, this.purpose, held.length, held).catch(() => {});
    this.feed.fill(true);
  }

  // Opening ----------------------------------------------------------------------------------------

  #follow = (): void => {
    const item = this.feed.current;
    if (!item) {
      if (this.#state.openAsset) this.#set({ openAsset: "" });
      this.editor.close();
      return;
    }
    if (item.asset !== this.#state.openAsset) void this.#open(item);
  };

  async #open(item: Item): Promise<void> {
    const { asset } = item;
    this.#set({ openAsset: asset, imageError: "" });
    this.#openedAt = performance.now();
    this.#spentBefore = item.draft?.spent_s ?? 0;
    const size = { width: item.width_px, height: item.height_px };
    const doc = this.#docOf(item);
    const found = this.feed.image(asset);
    try {
      const decoded = await found;
      if (this.#state.openAsset !== asset) return;
      this.#lastDoc = doc;
      this.editor.open({ asset, ...size, image: decoded }, doc, false);
    } catch (error) {
      if (this.#state.openAsset !== asset) return;
      this.#set({ imageError: error instanceof Error ? error.message : String(error) });
      this.editor.close();
    }
  }

  #docOf(item: Item): Doc {
    const size = { width: item.width_px, height: item.height_px };
    const kept = readDraft(draftKey(this.job.job, item.asset)) ?? item.draft;
    const existing = readExisting(item.existing, size);
    const predicted = news(readShapes(item.predicted ?? [], size), existing, item.existing);
    if (kept) {
      const shapes = recognised(readShapes(kept.shapes, size), existing);
      // The server's copy does not say what was dismissed; what was accepted names its prediction.
      const decided = new Set(
        isLocal(kept) ? kept.decided : kept.shapes.map((one) => one.edited_from),
      );
      return {
        shapes,
        tags: kept.tags,
        predictions: predicted.filter(({ id }) => !decided.has(id)),
      };
    }
    if (item.labels) {
      return {
        shapes: recognised(readShapes(item.labels.shapes, size), existing),
        tags: item.labels.tags,
        predictions: [],
      };
    }
    return { shapes: existing, predictions: predicted, tags: [] };
  }

  // Drafts -----------------------------------------------------------------------------------------

  #onStep = (): void => {
    const { doc } = this.editor;
    if (!this.editor.state.item || doc === this.#lastDoc) return;
    this.#lastDoc = doc;
    clearTimeout(this.#draftTimer);
    this.#draftTimer = setTimeout(() => this.#saveDraft(), DRAFT_MS);
  };

  #onLeave = (): void => this.#saveDraft();

  #saveDraft(): void {
    clearTimeout(this.#draftTimer);
    const item = this.feed.current;
    if (!item || this.editor.state.item?.asset !== item.asset) return;
    if (this.editor.state.history.past.length === 0) return;
    const { shapes, tags, predictions } = this.editor.doc;
    const left = new Set(predictions.map(({ id }) => id));
    const decided = (item.predicted ?? []).map(({ id }) => id ?? "").filter((id) => !left.has(id));
    const draft = {
      shapes: shapes.map(writeShape),
      tags: [...tags],
      decided,
      spent_s: this.#spent(),
    };
    writeDraft(draftKey(this.job.job, item.asset), draft);
    void send("PUT", itemPath(this.job.job, item.asset, "/draft"), {
      shapes: draft.shapes,
      tags: draft.tags,
      spent_s: draft.spent_s,
      revision: Date.now(),
    }).catch(() => {}); // the browser has it
  }

  #spent(): number {
    const here = (performance.now() - this.#openedAt) / 1_000;
    return Math.round(10 * (this.#spentBefore + Math.min(here, SPENT_MAX_S))) / 10;
  }
}

const isLocal = (draft: Draft | NonNullable<Item["draft"]>): draft is Draft => "decided" in draft;

function sameShapes(before: readonly LabelShape[], after: readonly LabelShape[]): boolean {
  if (before.length !== after.length) return false;
  return before.every((shape, index) => {
    const other = after[index]!;
    if (shape.className !== other.className || shape.geometry.kind !== other.geometry.kind)
      return false;
    if (shape.geometry.kind === "box" && other.geometry.kind === "box") {
      return iou(shape.geometry.box, other.geometry.box) > SAME_IOU;
    }
    return JSON.stringify(writeShape(shape)) === JSON.stringify(writeShape(other));
  });
}
