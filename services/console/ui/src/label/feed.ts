// The items of a job as one works through them: taken a few at a time, their images fetched and decoded
// before they are needed, so that the next one is there when one goes on.

export type Fed = { readonly asset: string };
export type FeedState<I extends Fed> = {
  readonly items: readonly I[];
  readonly at: number;
  /** Nothing more is to be had for now. */
  readonly isDry: boolean;
  readonly isAsking: boolean;
  readonly error: unknown;
};
type Take<I> = (count: number, have: readonly string[]) => Promise<readonly I[]>;
type Load = (asset: string) => Promise<ImageBitmap | HTMLImageElement>;

export const AHEAD = 4;
const IMAGES_MAX = 16;
const LOW = 2;

export class Feed<I extends Fed> {
  #state: FeedState<I> = { items: [], at: 0, isDry: false, isAsking: false, error: null };
  readonly #listeners = new Set<() => void>();
  readonly #images = new Map<string, Promise<ImageBitmap | HTMLImageElement>>();
  readonly #take: Take<I>;
  readonly #load: Load;

  constructor(take: Take<I>, load: Load) {
    this.#take = take;
    this.#load = load;
  }

  getState = (): FeedState<I> => this.#state;

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  get current(): I | undefined {
    return this.#state.items[this.#state.at];
  }

  get previous(): I | undefined {
    return this.#state.items[this.#state.at - 1];
  }

  next(): void {
    if (this.#state.at < this.#state.items.length) this.#set({ at: this.#state.at + 1 });
    this.fill();
  }

  back(): void {
    if (this.#state.at > 0) this.#set({ at: this.#state.at - 1 });
  }

  /** An item as it is now. */
  update(asset: string, change: (item: I) => I): void {
    // What was sent back is there twice: the later one is the one at hand.
    const at = this.#state.items.findLastIndex((item) => item.asset === asset);
    if (at < 0) return;
    this.#set({ items: this.#state.items.with(at, change(this.#state.items[at]!)) });
  }

  /** Asks for more when few are left; also after it ran dry, if `again`. */
  fill(again = false): void {
    const { items, at, isAsking, isDry } = this.#state;
    this.#prefetch();
    if (isAsking || (isDry && !again) || items.length - at > LOW) return;
    this.#set({ isAsking: true });
    void this.#ask();
  }

  image(asset: string): Promise<ImageBitmap | HTMLImageElement> {
    let image = this.#images.get(asset);
    if (!image) {
      image = this.#load(asset);
      image.catch(() => this.#images.delete(asset));
      this.#images.set(asset, image);
      this.#forget();
    }
    return image;
  }

  async #ask(): Promise<void> {
    const { items, at } = this.#state;
    try {
      const taken = await this.#take(
        AHEAD,
        items.slice(at).map(({ asset }) => asset),
      );
      const known = new Set(this.#state.items.slice(this.#state.at).map(({ asset }) => asset));
      const fresh = taken.filter(({ asset }) => !known.has(asset));
      this.#set({
        items: [...this.#state.items, ...fresh],
        isAsking: false,
        isDry: fresh.length === 0,
        error: null,
      });
    } catch (error) {
      this.#set({ isAsking: false, error });
    }
    this.#prefetch();
  }

  #prefetch(): void {
    const { items, at } = this.#state;
    for (const { asset } of items.slice(at, at + AHEAD)) this.image(asset).catch(() => {});
  }

  #forget(): void {
    const { items, at } = this.#state;
    const near = new Set(items.slice(Math.max(0, at - 2), at + AHEAD).map(({ asset }) => asset));
    for (const [asset] of this.#images) {
      if (this.#images.size <= IMAGES_MAX) return;
      if (!near.has(asset)) this.#images.delete(asset);
    }
  }

  #set(changes: Partial<FeedState<I>>): void {
    this.#state = { ...this.#state, ...changes };
    for (const listener of this.#listeners) listener();
  }
}

/** Fetches an image and decodes it off the page's thread. */
export async function loadBitmap(url: string): Promise<ImageBitmap> {
  const answer = await fetch(url, { credentials: "same-origin" });
  if (!answer.ok) throw new Error(`The image could not be read (${answer.status}).`);
  return createImageBitmap(await answer.blob());
}
