// Measuring a model version on a split of any dataset version.

import { useMutation, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { get, type Schemas, send } from "../api/client";
import { tell } from "../app/toasts";
import { Select } from "../ui/controls";
import { Confirm } from "../ui/dialog";
import type { Version } from "./ModelPage";

const HEAD = "0";
const SPLITS = ["test", "val", "train"];

export function Measure({ version, onClose }: { version: Version; onClose: () => void }) {
  const { name } = version;
  const datasets = useQuery({
    queryKey: ["datasets"],
    queryFn: () => get<Schemas["DatasetsOut"]>("/api/datasets"),
  });
  const known = datasets.data?.datasets ?? [];
  const [chosen, setChosen] = useState(version.trained_on?.name ?? "");
  const [at, setAt] = useState(HEAD);
  const [split, setSplit] = useState("test");
  const dataset = known.find((one) => one.name === chosen) ?? known[0];
  const versions = Array.from({ length: dataset?.head.version ?? 0 }, (_, before) => {
    const number = String(dataset!.head.version - before);
    return { value: number, label: `v${number}` };
  });
  const measure = useMutation({
    mutationFn: () =>
      send("POST", `/api/models/${name}/versions/${version.version}/evaluate`, {
        dataset: dataset!.name,
        dataset_version: Number(at),
        split,
      }),
    onSuccess: () => {
      tell(`${name} v${version.version} is measured; the report appears here when it is done`);
      onClose();
    },
  });
  return (
    <Confirm
      title={`Measure ${name} v${version.version}`}
      yes="Measure"
      busy={measure.isPending || !dataset}
      error={measure.error ?? datasets.error}
      onYes={() => measure.mutate()}
      onClose={onClose}
    >
      <p className="muted">On images that have labels. What was measured already is recognised.</p>
      <Select
        label="Dataset"
        value={dataset?.name ?? ""}
        options={known.map((one) => one.name)}
        onChange={(next) => {
          setChosen(next);
          setAt(HEAD);
        }}
      />
      <div className="form-row">
        <Select
          label="Version"
          value={at}
          options={[{ value: HEAD, label: "the latest" }, ...versions]}
          onChange={setAt}
        />
        <Select label="Split" value={split} options={SPLITS} onChange={setSplit} />
      </div>
    </Confirm>
  );
}
