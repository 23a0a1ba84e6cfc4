// What happens, as it happens: one connection for the whole page. The browser reconnects by itself and
// says the last id it saw, so nothing in between is missed.

import type { QueryClient } from "@tanstack/react-query";
import { useEffect, useSyncExternalStore } from "react";
import type { Schemas } from "./client";

export type Happening = Schemas["EventOut"];
type Listener = (event: Happening) => void;

const REFRESH_MS = 400; // many events in a burst ask the server once
const RETRY_MS = 3_000;
const listeners = new Set<Listener>();
const watchers = new Set<() => void>();
let connected = true;

/** Which answers an event makes old, by the first word of their query keys. */
const CONCERNS: Record<string, readonly string[]> = {
  dataset: ["workflow", "datasets"],
  model: ["workflow", "models"],
  alias: ["workflow", "models"],
  evaluation: ["workflow", "models"],
  labeling: ["workflow", "jobs"],
  labels: ["jobs"],
  review: ["jobs"],
  run: ["runs", "workflow"],
  agent: ["agents"],
  dead: ["dead", "queues"],
};
const OTHERWISE = ["workflow"];
/** A stream of named events tells only who asks for them by name. */
const TYPES = [
  "dataset_committed",
  "model_committed",
  "alias_moved",
  "evaluation_committed",
  "flow_committed",
  "predictions_committed",
  "labeling_job_committed",
  "labels_submitted",
  "item_reviewed",
  "delivery_committed",
  "reproduction_committed",
  "access_revoked",
  "run_changed",
  "promotion_declined",
  "notification_sent",
  "agent_reported",
] as const;
const RESET = "reset"; // the last id is too far back

export function follow(queries: QueryClient): () => void {
  let source: EventSource | null = null;
  let retry: ReturnType<typeof setTimeout> | undefined;
  const stale = new Set<string>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let lastId = "";

  const refresh = (): void => {
    timer = undefined;
    for (const key of stale) void queries.invalidateQueries({ queryKey: [key] });
    stale.clear();
  };
  const hear = (message: MessageEvent<string>): void => {
    const event = JSON.parse(message.data) as Happening;
    lastId = message.lastEventId;
    for (const listener of listeners) listener(event);
    for (const key of CONCERNS[event.type.split("_")[0] ?? ""] ?? OTHERWISE) stale.add(key);
    timer ??= setTimeout(refresh, REFRESH_MS);
  };
  const open = (): void => {
    // The browser says the last id when it reconnects; a connection that was refused is a new one.
    source = new EventSource(lastId ? `/api/events?after=${lastId}` : "/api/events");
    source.onopen = () => {
      // Whatever was missed while there was no connection is asked for again.
      if (!connected) void queries.invalidateQueries();
      setConnected(true);
    };
    for (const type of TYPES) source.addEventListener(type, hear);
    source.addEventListener(RESET, (message: MessageEvent<string>) => {
      lastId = message.lastEventId;
      void queries.invalidateQueries();
    });
    source.onerror = () => {
      setConnected(false);
      if (source?.readyState === EventSource.CLOSED) retry = setTimeout(open, RETRY_MS);
    };
  };
  open();
  return () => {
    source?.close();
    clearTimeout(retry);
    clearTimeout(timer);
  };
}

function setConnected(value: boolean): void {
  if (connected === value) return;
  connected = value;
  for (const watcher of watchers) watcher();
}

export function useIsLive(): boolean {
  return useSyncExternalStore(
    (watcher) => {
      watchers.add(watcher);
      return () => watchers.delete(watcher);
    },
    () => connected,
  );
}

/** Calls back with every event; keep `listener` stable. */
export function useHappenings(listener: Listener): void {
  useEffect(() => {
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
    };
  }, [listener]);
}
