// Opening a labeling job: a name and a dataset are enough, everything else has a default.

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useId, useState } from "react";
import { Link, useNavigate } from "react-router";
import { get, type Schemas } from "../api/client";
import { useSession } from "../app/session";
import { tell } from "../app/toasts";
import { Area, Button, Choices, Field, Select } from "../ui/controls";
import { Dialog } from "../ui/dialog";
import { number, plural } from "../ui/format";
import { Empty, Loading, Refusal } from "../ui/states";
import { AskedModel } from "./AskedModel";
import { type Job, openJob, readJobs } from "./api";
import { HelpFields } from "./HelpFields";
import {
  assetsOf,
  FILTER,
  type Filter,
  type Form,
  faultOfName,
  linesOf,
  MODEL,
  needsList,
  requestOf,
  SHAPES,
  SPLIT,
  saidOf,
  twiceIn,
} from "./opening";
import { PeopleFields } from "./People";
import { DeadlineField, PriorityField } from "./Urgency";

const PLAIN = {
  job: "",
  shapes: [],
  instructions: "",
  labelers: [],
  reviewers: [],
  review: false,
  labelersPerItem: 1,
  deadline: "",
  priority: 0,
  confidence: 0.3,
};

type Version = Schemas["VersionOut"];
/** The version that a dialog begins with, and what its page shows of it. */
export type Begin = { version: Version; filter: Filter };

export function NewJob({ begin, onClose }: { begin?: Begin; onClose: () => void }) {
  const datasets = useQuery({
    queryKey: ["datasets"],
    queryFn: () => get<Schemas["DatasetsOut"]>("/api/datasets"),
    enabled: !begin,
  });
  const first = begin?.version ?? datasets.data?.datasets[0]?.head;
  if (first) return <Asking first={first} filter={begin?.filter ?? {}} onClose={onClose} />;
  return (
    <Dialog title="New labeling job" onClose={onClose} wide>
      {datasets.isPending && <Loading what="Reading the datasets…" />}
      <Refusal error={datasets.error} />
      {datasets.isSuccess && (
        <Empty
          title="There is no dataset yet"
          action={
            <Link className="button primary" to="/import">
              Import images
            </Link>
          }
        >
          A job is about the images of a dataset.
        </Empty>
      )}
    </Dialog>
  );
}

function Asking({
  first,
  filter: shown,
  onClose,
}: {
  first: Version;
  filter: Filter;
  onClose: () => void;
}) {
  const { name: me } = useSession();
  const go = useNavigate();
  const queries = useQueryClient();
  const id = useId();
  const [form, setForm] = useState<Form>({ ...PLAIN, ...aboutOf(first, shown) });
  const [asked, setAsked] = useState<Job | null>(null);
  const set = (changes: Partial<Form>): void => setForm((before) => ({ ...before, ...changes }));
  const jobs = useQuery({ queryKey: ["jobs"], queryFn: readJobs });
  const filter = form.dataset === first.name ? shown : {};
  const versions = useVersions(form.dataset);
  const version =
    versions.find((one) => one.version === form.version) ??
    (form.dataset === first.name && form.version === first.version ? first : undefined);
  const classes = linesOf(form.classes);
  const twice = twiceIn(classes);
  const nameFault = faultOfName(form.job, jobs.data?.map(({ job }) => job) ?? []);
  const leave = (job: Job): void => {
    const isMine = job.labelers.length === 0 || job.labelers.includes(me);
    onClose();
    if (!isMine) tell(`${job.job} is open: ${plural(job.items, "image")} to label`);
    void go(isMine ? `/label/${job.job}` : "/label");
  };
  const open = useMutation({
    mutationFn: async () => openJob(await bodyOf(form, filter, version!.classes)),
    onSuccess: (job) => {
      void queries.invalidateQueries({ queryKey: ["jobs"] });
      if (form.help.startsWith(MODEL)) setAsked(job);
      else leave(job);
    },
  });
  if (asked) {
    return (
      <AskedModel
        job={asked}
        model={form.help.slice(MODEL.length)}
        confidence={form.confidence}
        onDone={() => leave(asked)}
      />
    );
  }
  const isReady = form.job && !nameFault && !twice && version && classes.length;
  return (
    <Dialog
      title="New labeling job"
      onClose={onClose}
      error={open.error}
      wide
      actions={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button tone="primary" type="submit" form={id} disabled={!isReady || open.isPending}>
            {open.isPending ? "Opening…" : "Open the job"}
          </Button>
        </>
      }
    >
      <form
        id={id}
        className="form"
        noValidate // the server's words say more, and may stand above what is folded away
        onSubmit={(event) => {
          event.preventDefault();
          if (isReady) open.mutate();
        }}
      >
        <div className="form-row thirds">
          <Field
            label="Name"
            required
            maxLength={63}
            autoComplete="off"
            placeholder={`${form.dataset}-labels`}
            fault={nameFault}
            value={form.job}
            onChange={(event) => set({ job: event.target.value })}
          />
          <DatasetChoice
            chosen={first.name}
            value={form.dataset}
            onChange={(head) => set(aboutOf(head, head.name === first.name ? shown : {}))}
          />
          <Select
            label="Version"
            value={String(form.version)}
            options={(versions.length ? versions : [first]).map((one) => ({
              value: String(one.version),
              label: one.tags.length
                ? `v${one.version} (${one.tags.join(", ")})`
                : `v${one.version}`,
            }))}
            onChange={(value) => {
              const chosen = versions.find((one) => String(one.version) === value);
              if (chosen) set(aboutOf(chosen, filter));
            }}
          />
        </div>
        <div className="form-row images">
          <Select
            label="Images"
            value={form.which}
            options={version ? itemsIn(version, filter) : []}
            onChange={(which) => set({ which })}
          />
          <Choices
            label="May be drawn"
            hint="nothing ticked: anything"
            options={SHAPES}
            chosen={form.shapes}
            onChange={(shapes) => set({ shapes })}
          />
        </div>
        <div className="form-row">
          <Area
            label="Classes"
            rows={4}
            required
            hint="one a line, in the order of their keys"
            fault={twice && `${twice} is there twice`}
            value={form.classes}
            onChange={(event) => set({ classes: event.target.value })}
          />
          <Area
            label="Instructions"
            rows={4}
            placeholder="What labelers should know"
            value={form.instructions}
            onChange={(event) => set({ instructions: event.target.value })}
          />
        </div>
        <details className="form-more">
          <summary>People and time</summary>
          <div className="form">
            <PeopleFields labelers={form.labelers} reviewers={form.reviewers} onChange={set} />
            <label className="check">
              <input
                type="checkbox"
                checked={form.review}
                onChange={(event) => set({ review: event.target.checked })}
              />
              A reviewer looks at every image before it counts
            </label>
            <div className="form-row thirds">
              <DeadlineField value={form.deadline} onChange={set} />
              <Field
                label="Labelers for each image"
                type="number"
                min={1}
                max={20}
                required
                hint="none sees what the others said"
                value={form.labelersPerItem}
                onChange={(event) => set({ labelersPerItem: event.target.valueAsNumber || 1 })}
              />
              <PriorityField value={form.priority} onChange={set} />
            </div>
          </div>
        </details>
        {version && <HelpFields form={form} version={version} onChange={set} />}
      </form>
    </Dialog>
  );
}

function DatasetChoice({
  chosen,
  value,
  onChange,
}: {
  chosen: string;
  value: string;
  onChange: (head: Version) => void;
}) {
  const datasets = useQuery({
    queryKey: ["datasets"],
    queryFn: () => get<Schemas["DatasetsOut"]>("/api/datasets"),
  });
  const all = datasets.data?.datasets ?? [];
  return (
    <Select
      label="Dataset"
      value={value}
      options={all.length ? all.map(({ name }) => name) : [chosen]}
      onChange={(name) => {
        const found = all.find((one) => one.name === name);
        if (found) onChange(found.head);
      }}
    />
  );
}

function useVersions(dataset: string): readonly Version[] {
  const versions = useQuery({
    queryKey: ["datasets", dataset, "versions"],
    queryFn: () => get<Schemas["VersionsOut"]>(`/api/datasets/${dataset}/versions`),
  });
  return versions.data?.versions ?? [];
}

/** What goes without saying about a version. */
function aboutOf(version: Version, filter: Filter) {
  const which = version.labeled < version.items ? "unlabeled" : "all";
  return {
    dataset: version.name,
    version: version.version,
    which: saidOf(filter) ? FILTER : which,
    classes: version.classes.join("\n"),
    help: "",
    hidden: 0,
  };
}

function itemsIn(version: Version, filter: Filter) {
  const unlabeled = version.items - version.labeled;
  const said = saidOf(filter);
  return [
    ...(said ? [{ value: FILTER, label: `As filtered: ${said}` }] : []),
    ...(unlabeled ? [{ value: "unlabeled", label: `Unlabeled (${number(unlabeled)})` }] : []),
    { value: "all", label: `All (${number(version.items)})` },
    ...Object.entries(version.splits).map(([split, count]) => ({
      value: `${SPLIT}${split}`,
      label: `Split ${split} (${number(count)})`,
    })),
  ];
}

/** Asks for the lists that rules cannot stand for, and puts the request together. */
async function bodyOf(form: Form, filter: Filter, classes: readonly string[]): Promise<object> {
  const { dataset, version, hidden } = form;
  const truth = hidden ? await assetsOf(dataset, version, { labeled: "true" }, hidden) : [];
  const isListed = form.which === FILTER && needsList(filter);
  const listed = isListed ? await assetsOf(dataset, version, filter) : [];
  const body = requestOf(form, filter, classes, listed, truth);
  if (isListed && body.items.length === 0) throw new Error("No image is like that.");
  return body;
}
