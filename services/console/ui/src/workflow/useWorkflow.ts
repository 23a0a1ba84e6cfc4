// The workspace's graph: asked for whole once, then only for what changed.

import { useQuery } from "@tanstack/react-query";
import { useMemo, useRef } from "react";
import { get, type Schemas } from "../api/client";
import { type Graph, patched, readGraph } from "./graph";

type Workflow = Schemas["WorkflowOut"];
const NODES_MAX = 5_000;

export function useWorkflow(): {
  graph: Graph | null;
  answer: Workflow | null;
  error: unknown;
  retry: () => void;
} {
  const last = useRef<Workflow | null>(null);
  const query = useQuery({
    queryKey: ["workflow"],
    queryFn: async ({ signal }) => {
      const known = last.current;
      const since = known?.revision;
      const answer = await get<Workflow>("/api/workflow", { limit: NODES_MAX, since }, signal);
      last.current = known && answer.is_partial ? { ...answer, ...patched(known, answer) } : answer;
      return last.current;
    },
    structuralSharing: false,
    refetchInterval: 30_000,
  });
  const answer = query.data ?? null;
  const graph = useMemo(() => (answer ? readGraph(answer) : null), [answer]);
  return { graph, answer, error: query.error, retry: () => void query.refetch() };
}
