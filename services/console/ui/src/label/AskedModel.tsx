// A deployed model looks at the images of a job that was just opened.

import { useQuery } from "@tanstack/react-query";
import { useEffect } from "react";
import { Button, Progress } from "../ui/controls";
import { Dialog } from "../ui/dialog";
import { number, plural } from "../ui/format";
import { Refusal } from "../ui/states";
import { askModel, type Job, readAsking } from "./api";

const POLL_MS = 500;

export function AskedModel({
  job,
  model,
  confidence,
  onDone,
}: {
  job: Job;
  model: string;
  confidence: number;
  onDone: () => void;
}) {
  const begun = useQuery({
    queryKey: ["jobs", job.job, "ask", model],
    queryFn: () => askModel(job.job, model, confidence),
    staleTime: Number.POSITIVE_INFINITY,
  });
  const told = useQuery({
    queryKey: ["jobs", job.job, "asked", model],
    queryFn: () => readAsking(job.job),
    enabled: begun.isSuccess,
    refetchInterval: ({ state }) =>
      state.data && state.data.state !== "running" ? false : POLL_MS,
  });
  const now = told.data ?? begun.data;
  const isWhole = now?.state === "completed" && now.failed === 0;
  useEffect(() => {
    if (isWhole) onDone();
  }, [isWhole, onDone]);
  const isOver = begun.isError || told.isError || (now && now.state !== "running");
  return (
    <Dialog
      title={`${job.job} is open`}
      onClose={onDone}
      actions={
        <Button tone="primary" onClick={onDone}>
          {isOver ? "To the job" : "Label without waiting"}
        </Button>
      }
    >
      <p>
        {model} looks at {plural(job.items, "image")}
        {now && now.total > 0 && `: ${number(now.done)} of ${number(now.total)}`}
      </p>
      <Progress value={(now?.done ?? 0) / Math.max(1, now?.total ?? 0)} label={`${model} looks`} />
      <Refusal error={begun.error ?? told.error} />
      {now?.state === "failed" && <Refusal error={now.error} />}
      {now?.state === "completed" && now.failed > 0 && (
        <p className="warn-text">It could not look at {plural(now.failed, "image")}.</p>
      )}
    </Dialog>
  );
}
