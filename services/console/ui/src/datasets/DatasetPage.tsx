// One dataset: its images, its versions, the difference of two, and what an import left out.

import "../styles/items.css";
import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { Link, useNavigate, useParams, useSearchParams } from "react-router";
import { get, type Schemas } from "../api/client";
import { colours } from "../label/colours";
import { Select } from "../ui/controls";
import { ago, percent, plural } from "../ui/format";
import { Failure, Loading } from "../ui/states";
import { tabOf } from "../ui/tabs";
import { Diff } from "./Diff";
import { Drops } from "./Drops";
import { Items } from "./Items";
import { Versions } from "./Versions";

export type Version = Schemas["VersionOut"];
const TABS = [
  { id: "images", label: "Images" },
  { id: "versions", label: "Versions" },
  { id: "diff", label: "Differences" },
  { id: "drops", label: "Left out" },
] as const;

export default function DatasetPage() {
  const { name = "" } = useParams();
  const versions = useQuery({
    queryKey: ["datasets", name, "versions"],
    queryFn: () => get<Schemas["VersionsOut"]>(`/api/datasets/${name}/versions`),
  });
  if (versions.isPending) return <Loading what="Reading the dataset…" />;
  if (!versions.data) {
    return (
      <Failure
        what={`The dataset ${name} cannot be shown`}
        error={versions.error}
        retry={() => void versions.refetch()}
      />
    );
  }
  return <Dataset name={name} versions={versions.data.versions} />;
}

function Dataset({ name, versions }: { name: string; versions: readonly Version[] }) {
  const { version: asked } = useParams();
  const [address] = useSearchParams();
  const tab = tabOf(address, TABS, "images");
  const version = versions.find((one) => String(one.version) === asked) ?? versions[0]!;
  const at = asked ? `/datasets/${name}/${version.version}` : `/datasets/${name}`;
  const classes = version.classes;
  const colourOf = useMemo(() => colours(classes), [classes]);
  return (
    <>
      <header className="page-head">
        <nav className="crumbs" aria-label="Where you are">
          <Link to="/datasets">Datasets</Link>
          <span className="sep">/</span>
          <h1>{name}</h1>
        </nav>
        <VersionChoice name={name} versions={versions} version={version} />
        <span className="faint num">
          {plural(version.items, "image")},{" "}
          {percent(version.labeled / Math.max(1, version.items), 0)} labeled,{" "}
          {ago(version.committed_at)}
        </span>
        <span className="grow" />
        <Link className="button" to={`/workflow?node=${encodeURIComponent(version.node)}`}>
          In the workflow
        </Link>
      </header>
      <nav className="tabs" aria-label="Views of the dataset">
        {TABS.filter(({ id }) => id !== "drops" || version.has_drops).map(({ id, label }) => (
          <Link key={id} to={`${at}?tab=${id}`} aria-current={tab === id ? "page" : undefined}>
            {label}
          </Link>
        ))}
      </nav>
      {tab === "images" && <Items key={version.version} version={version} colourOf={colourOf} />}
      {tab === "versions" && <Versions versions={versions} current={version} />}
      {tab === "diff" && <Diff versions={versions} current={version} colourOf={colourOf} />}
      {tab === "drops" && (
        <div className="page-body">
          <Drops version={version} />
        </div>
      )}
    </>
  );
}

function VersionChoice({
  name,
  versions,
  version,
}: {
  name: string;
  versions: readonly Version[];
  version: Version;
}) {
  const go = useNavigate();
  const [address] = useSearchParams();
  const tab = address.get("tab");
  return (
    <Select
      bare
      label="Version"
      value={String(version.version)}
      options={versions.map((one) => ({
        value: String(one.version),
        label: one.tags.length ? `v${one.version} (${one.tags.join(", ")})` : `v${one.version}`,
      }))}
      onChange={(next) => {
        void go(`/datasets/${name}/${next}${tab ? `?tab=${tab}` : ""}`);
      }}
    />
  );
}
