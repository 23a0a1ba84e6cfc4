// Short notes on what just happened, read aloud where somebody listens.

import { CircleAlert, CircleCheck } from "lucide-react";
import { useSyncExternalStore } from "react";

type Toast = { id: number; text: string; tone: "good" | "bad" };

const SHOWN_MS = 5_000;
const SHOWN_MAX = 4;
let toasts: readonly Toast[] = [];
let last = 0;
const listeners = new Set<() => void>();

function set(next: readonly Toast[]): void {
  toasts = next;
  for (const listener of listeners) listener();
}

export function tell(text: string, tone: Toast["tone"] = "good"): void {
  last += 1;
  const toast = { id: last, text, tone };
  set([...toasts, toast].slice(-SHOWN_MAX));
  setTimeout(() => set(toasts.filter((one) => one !== toast)), SHOWN_MS);
}

export function Toasts() {
  const shown = useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => toasts,
  );
  return (
    <div className="toasts" role="status" aria-live="polite">
      {shown.map(({ id, text, tone }) => (
        <div key={id} className={`toast ${tone}`}>
          {tone === "good" ? (
            <CircleCheck size={16} className="good-text" aria-hidden />
          ) : (
            <CircleAlert size={16} className="bad-text" aria-hidden />
          )}
          {text}
        </div>
      ))}
    </div>
  );
}
