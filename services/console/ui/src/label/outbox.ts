// What was submitted and is not yet known to have arrived. It is kept in the browser until the server
// says it has it: a closed tab, a lost network or a restarted service loses nothing, and what is sent
// twice is recognised as the same.

import { Refused, reasonOf } from "../api/errors";

export type Letter = {
  readonly id: string;
  readonly job: string;
  readonly asset: string;
  readonly method: string;
  readonly path: string;
  readonly body: unknown;
};
export type Refusal = { readonly letter: Letter; readonly reason: string };
export type OutboxState = {
  readonly waiting: readonly Letter[];
  readonly refused: readonly Refusal[];
  /** Why the first one does not get through; "" while it does. */
  readonly trouble: string;
};
type Send = (method: string, path: string, body: unknown) => Promise<unknown>;
type Shelf = Pick<Storage, "getItem" | "setItem">;

const KEY = "loopline.outbox";
const FIRST_WAIT_MS = 400;
const WAIT_MAX_MS = 10_000;
const AT_ONCE = 4;
/** A refusal for good; others (a lost session, too many requests, a fault) pass. */
const isFinal = (error: unknown): boolean =>
  error instanceof Refused &&
  error.status >= 400 &&
  error.status < 500 &&
  ![401, 408, 425, 429].includes(error.status);

export class Outbox {
  #state: OutboxState;
  readonly #listeners = new Set<() => void>();
  readonly #sending = new Set<string>();
  #wait = FIRST_WAIT_MS;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #send: Send;
  readonly #shelf: Shelf;
  onArrived: (letter: Letter, answer: unknown) => void = () => {};
  onRefused: (refusal: Refusal) => void = () => {};

  constructor(send: Send, shelf: Shelf) {
    this.#send = send;
    this.#shelf = shelf;
    this.#state = { waiting: readLetters(shelf), refused: [], trouble: "" };
    this.flush();
  }

  getState = (): OutboxState => this.#state;

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** Takes a letter; a later one for the same item takes the place of one that was not sent. */
  post(letter: Letter): void {
    const others = this.#state.waiting.filter(
      (one) => one.path !== letter.path || this.#sending.has(one.id),
    );
    this.#set({ waiting: [...others, letter] });
    this.flush();
  }

  forget(refusal: Refusal): void {
    this.#set({ refused: this.#state.refused.filter((one) => one !== refusal) });
  }

  flush(): void {
    if (this.#timer) return;
    const busy = new Set(
      this.#state.waiting.filter(({ id }) => this.#sending.has(id)).map(({ path }) => path),
    );
    for (const letter of this.#state.waiting) {
      if (this.#sending.size >= AT_ONCE) return;
      if (this.#sending.has(letter.id) || busy.has(letter.path)) continue;
      busy.add(letter.path);
      void this.#deliver(letter);
    }
  }

  async #deliver(letter: Letter): Promise<void> {
    this.#sending.add(letter.id);
    try {
      const answer = await this.#send(letter.method, letter.path, letter.body);
      this.#wait = FIRST_WAIT_MS;
      this.#done(letter, { trouble: "" });
      this.onArrived(letter, answer);
    } catch (error) {
      if (isFinal(error)) {
        const refusal = { letter, reason: reasonOf(error) };
        this.#done(letter, { refused: [...this.#state.refused, refusal], trouble: "" });
        this.onRefused(refusal);
      } else {
        this.#sending.delete(letter.id);
        this.#set({ trouble: reasonOf(error) });
        this.#later();
        return;
      }
    }
    this.flush();
  }

  #done(letter: Letter, changes: Partial<OutboxState>): void {
    this.#sending.delete(letter.id);
    this.#set({ waiting: this.#state.waiting.filter(({ id }) => id !== letter.id), ...changes });
  }

  #later(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.flush();
    }, this.#wait);
    this.#wait = Math.min(2 * this.#wait, WAIT_MAX_MS);
  }

  #set(changes: Partial<OutboxState>): void {
    this.#state = { ...this.#state, ...changes };
    if (changes.waiting) this.#shelf.setItem(KEY, JSON.stringify(changes.waiting));
    for (const listener of this.#listeners) listener();
  }
}

function readLetters(shelf: Shelf): Letter[] {
  try {
    const kept: unknown = JSON.parse(shelf.getItem(KEY) ?? "[]");
    return Array.isArray(kept) ? (kept as Letter[]) : [];
  } catch {
    return [];
  }
}
