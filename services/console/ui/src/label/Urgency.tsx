// Until when a labeling job is due, and which one comes first.

import { Field } from "../ui/controls";

export function DeadlineField({
  value,
  hint = "",
  onChange,
}: {
  value: string;
  hint?: string;
  onChange: (changes: { deadline: string }) => void;
}) {
  return (
    <Field
      label="Deadline"
      type="datetime-local"
      hint={hint}
      value={value}
      onChange={(event) => onChange({ deadline: event.target.value })}
    />
  );
}

export function PriorityField({
  value,
  onChange,
}: {
  value: number;
  onChange: (changes: { priority: number }) => void;
}) {
  return (
    <Field
      label="Priority"
      type="number"
      min={-1000}
      max={1000}
      required
      hint="higher ones first"
      value={value}
      onChange={(event) => onChange({ priority: event.target.valueAsNumber || 0 })}
    />
  );
}
