// Undo and redo: a bounded stack of whole states. States share what did not change, so that keeping
// one costs what the step changed.

export type History<S> = {
  readonly past: readonly S[];
  readonly present: S;
  readonly future: readonly S[];
};

export const STEPS_MAX = 200;

export const begin = <S>(present: S): History<S> => ({ past: [], present, future: [] });

/** A step that can be undone; one that changes nothing is none. */
export function push<S>(history: History<S>, next: S): History<S> {
  if (Object.is(next, history.present)) return history;
  return { past: [...history.past, history.present].slice(-STEPS_MAX), present: next, future: [] };
}

/** A change within the step at hand: dragging a corner is one step, not a hundred. */
export const replace = <S>(history: History<S>, present: S): History<S> => ({
  ...history,
  present,
});

export function undo<S>(history: History<S>): History<S> {
  const previous = history.past.at(-1);
  if (previous === undefined) return history;
  return {
    past: history.past.slice(0, -1),
    present: previous,
    future: [history.present, ...history.future],
  };
}

export function redo<S>(history: History<S>): History<S> {
  const next = history.future[0];
  if (next === undefined) return history;
  return {
    past: [...history.past, history.present],
    present: next,
    future: history.future.slice(1),
  };
}

export const canUndo = (history: History<unknown>): boolean => history.past.length > 0;
export const canRedo = (history: History<unknown>): boolean => history.future.length > 0;
