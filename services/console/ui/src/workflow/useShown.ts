// What of the graph is shown: kept in the address, and the hidden kinds in the browser.

import { useCallback, useMemo, useState } from "react";
import { useSearchParams } from "react-router";
import { type Graph, HIDDEN_AT_FIRST, KEEP_ALL, keepFor, type Shown, type Way } from "./graph";
import type { Kind } from "./kinds";

const HIDDEN_KEY = "loopline.workflow.hidden";
/** How many versions of an artefact stand alone. */
export type Detail = "1" | "3" | "all";

function readHidden(): Set<Kind> {
  const kept = localStorage.getItem(HIDDEN_KEY);
  return new Set(kept === null ? HIDDEN_AT_FIRST : (kept.split(",").filter(Boolean) as Kind[]));
}

/** What is shown is in the address, so that a link shows the same. */
export function useShown(graph: Graph) {
  const [address, setAddress] = useSearchParams();
  const [hidden, setHidden] = useState(readHidden);
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  const [usual] = useState<Detail>(() => {
    const keep = keepFor(graph.cards.size);
    return keep === KEEP_ALL ? "all" : keep === 3 ? "3" : "1";
  });
  const detail = (address.get("detail") as Detail | null) ?? usual;
  const focus = address.get("focus");
  const way = (address.get("way") as Way | null) ?? "both";
  const hours = address.get("since") ?? "";
  const dataset = address.get("dataset") ?? "";
  const set = useCallback(
    (changes: Record<string, string | null>) => {
      setAddress(
        (current) => {
          const next = new URLSearchParams(current);
          for (const [name, value] of Object.entries(changes)) {
            if (value) next.set(name, value);
            else next.delete(name);
          }
          return next;
        },
        { replace: true },
      );
    },
    [setAddress],
  );
  const toggleKind = (kind: Kind): void => {
    const next = new Set(hidden);
    if (!next.delete(kind)) next.add(kind);
    localStorage.setItem(HIDDEN_KEY, [...next].join(","));
    setHidden(next);
  };
  const shown = useMemo<Shown>(
    () => ({
      hidden,
      open,
      dataset,
      keep: detail === "all" ? KEEP_ALL : Number(detail),
      focus: focus ? { id: focus, way } : null,
      since: hours ? new Date(Date.now() - Number(hours) * 3_600_000).toISOString() : "",
    }),
    [hidden, open, dataset, detail, focus, way, hours],
  );
  const expand = (id: string): void => setOpen(new Set([...open, id]));
  return { shown, set, detail, hours, dataset, way, node: address.get("node"), toggleKind, expand };
}
