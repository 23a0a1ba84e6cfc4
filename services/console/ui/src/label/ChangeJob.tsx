// Other people for an open job, another date, another place in the list.

import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useId, useState } from "react";
import { tell } from "../app/toasts";
import { Area, Button } from "../ui/controls";
import { Dialog } from "../ui/dialog";
import { changeJob, type Job } from "./api";
import { localOf, momentOf } from "./opening";
import { PeopleFields } from "./People";
import { DeadlineField, PriorityField } from "./Urgency";

export function ChangeJob({ job, onClose }: { job: Job; onClose: () => void }) {
  const queries = useQueryClient();
  const id = useId();
  const due = localOf(job.deadline);
  const [form, setForm] = useState({
    labelers: job.labelers,
    reviewers: job.reviewers,
    deadline: due,
    priority: job.priority,
    instructions: job.instructions,
  });
  const set = (changes: Partial<typeof form>): void => setForm({ ...form, ...changes });
  const change = useMutation({
    mutationFn: () => {
      const { deadline, ...others } = form;
      // The date stays as it is to the second unless it was touched.
      return changeJob(
        job.job,
        deadline === due ? others : { ...others, deadline: momentOf(deadline) ?? "" },
      );
    },
    onSuccess: () => {
      tell(`${job.job} is changed`);
      void queries.invalidateQueries({ queryKey: ["jobs"] });
      onClose();
    },
  });
  return (
    <Dialog
      title={`Change ${job.job}`}
      onClose={onClose}
      error={change.error}
      actions={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button tone="primary" type="submit" form={id} disabled={change.isPending}>
            {change.isPending ? "Changing…" : "Change"}
          </Button>
        </>
      }
    >
      <form
        id={id}
        className="form"
        onSubmit={(event) => {
          event.preventDefault();
          change.mutate();
        }}
      >
        <PeopleFields labelers={form.labelers} reviewers={form.reviewers} onChange={set} />
        <div className="form-row">
          <DeadlineField
            hint={job.deadline === null ? "" : "empty for none any more"}
            value={form.deadline}
            onChange={set}
          />
          <PriorityField value={form.priority} onChange={set} />
        </div>
        <Area
          label="Instructions"
          rows={3}
          value={form.instructions}
          onChange={(event) => set({ instructions: event.target.value })}
        />
      </form>
    </Dialog>
  );
}
