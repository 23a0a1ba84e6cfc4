// What a new job has to help its labelers, and to tell how they do.

import { useQuery } from "@tanstack/react-query";
import { get, type Schemas } from "../api/client";
import { Field, Select } from "../ui/controls";
import { number } from "../ui/format";
import { type Form, linesOf, MODEL, PREDICTIONS } from "./opening";

const HIDDEN_MAX = 10_000; // by the server

export function HelpFields({
  form,
  version,
  onChange,
}: {
  form: Form;
  version: Schemas["VersionOut"];
  onChange: (changes: Partial<Form>) => void;
}) {
  const models = useQuery({
    queryKey: ["models"],
    queryFn: () => get<Schemas["ModelsOut"]>("/api/models"),
  });
  const facets = useQuery({
    queryKey: ["datasets", version.name, version.version, "facets"],
    queryFn: () =>
      get<Schemas["FacetsOut"]>(`/api/datasets/${version.name}/versions/${version.version}/facets`),
    staleTime: Number.POSITIVE_INFINITY,
  });
  const wanted = new Set(linesOf(form.classes));
  const deployed = (models.data?.models ?? [])
    .filter(({ head }) => head.classes.some((name) => wanted.has(name)))
    .flatMap(({ name, aliases }) => Object.keys(aliases).map((alias) => `${name}@${alias}`));
  const committed = facets.data?.predictions ?? [];
  return (
    <details className="form-more">
      <summary>Help from a model, and how labelers do</summary>
      <div className="form">
        <div className="form-row thirds">
          <Select
            label="Start from"
            value={form.help}
            options={[
              { value: "", label: "What the dataset says" },
              ...committed.map(({ ref, model, count }) => ({
                value: `${PREDICTIONS}${ref.name}@v${ref.version}`,
                label: `Predictions of ${model.label} (${number(count)})`,
              })),
              ...deployed.map((name) => ({ value: `${MODEL}${name}`, label: `Ask ${name} now` })),
            ]}
            onChange={(help) => onChange({ help })}
          />
          <Field
            label="From which confidence on"
            type="number"
            min={0}
            max={1}
            step={0.05}
            required
            disabled={!form.help}
            hint="what is less sure is not shown"
            value={form.confidence}
            onChange={(event) => onChange({ confidence: event.target.valueAsNumber || 0 })}
          />
        </div>
        {version.labeled > 0 && (
          <div className="form-row">
            <Field
              label="Labeled images hidden among the others"
              type="number"
              min={0}
              max={Math.min(HIDDEN_MAX, version.labeled)}
              required
              hint={`of ${number(version.labeled)}; how labelers do on them is their score, and every image starts empty`}
              value={form.hidden}
              onChange={(event) => onChange({ hidden: event.target.valueAsNumber || 0 })}
            />
          </div>
        )}
      </div>
    </details>
  );
}
